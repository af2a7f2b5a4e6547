package eventstore

import (
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Bell wakes the parts of this process that wait for new events: the background, and followers of a log. A ring says that a log may have
// new events; the waiter then reads the log. Connect joins the bell to the bells of other processes: see listen.go.
//
// A ring can get lost, when a process ends or a server restarts. So a waiter also reads the log at intervals.
type Bell struct {
	mu   sync.Mutex
	any  chan struct{}               // closed and replaced at each ring
	of   map[uuid.UUID]chan struct{} // closed and removed at a ring of the workspace; only of workspaces with waiters
	news map[uuid.UUID]bool          // the workspaces to tell the other processes about; nil when not connected
	told chan struct{}               // holds one element when news may have grown
}

// NewBell makes a bell.
func NewBell() *Bell {
	return &Bell{any: make(chan struct{}), of: map[uuid.UUID]chan struct{}{}, told: make(chan struct{}, 1)}
}

// Ring says that the events of a workspace up to position are committed; position 0 rings nothing. Ring never waits.
func (b *Bell) Ring(w pg.Workspace, position int64) {
	if position == 0 {
		return
	}
	b.ring(w.ID)
	b.tell(w.ID)
}

// Any gives a channel that is closed at the next ring of any workspace. Take the channel before you read the log.
func (b *Bell) Any() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.any
}

// Of gives a channel that is closed at the next ring of one workspace. Take the channel before you read the log.
func (b *Bell) Of(w pg.Workspace) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, waited := b.of[w.ID]
	if !waited {
		c = make(chan struct{})
		b.of[w.ID] = c
	}
	return c
}

// ring wakes the waiters of some workspaces in this process.
func (b *Bell) ring(ids ...uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringAny()
	for _, id := range ids {
		if c, waited := b.of[id]; waited {
			close(c)
			delete(b.of, id)
		}
	}
}

// ringAll wakes all waiters in this process, because any workspace may have new events.
func (b *Bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringAny()
	for _, c := range b.of {
		close(c)
	}
	clear(b.of)
}

func (b *Bell) ringAny() {
	close(b.any)
	b.any = make(chan struct{})
}

// tell adds workspaces to the news for the other processes.
func (b *Bell) tell(ids ...uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news == nil {
		return
	}
	for _, id := range ids {
		b.news[id] = true
	}
	select {
	case b.told <- struct{}{}:
	default:
	}
}
