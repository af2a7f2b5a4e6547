package eventstore

import (
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Bell wakes those in this process who wait for new events: the background, and followers of a log. It
// says that there may be something new; what that is, the log says. Connect joins it to the bells of other
// processes: see listen.go.
//
// A ring can get lost (a process that ends, a server that restarts), so whoever waits also looks now and then.
type Bell struct {
	mu   sync.Mutex
	any  chan struct{}               // closed and made anew at each ring
	of   map[uuid.UUID]chan struct{} // likewise, of the workspaces that somebody waits for
	news map[uuid.UUID]bool          // what the other processes are to be told; nil when not connected
	told chan struct{}               // holds one element when news may have grown
}

// NewBell makes a bell.
func NewBell() *Bell {
	return &Bell{any: make(chan struct{}), of: map[uuid.UUID]chan struct{}{}, told: make(chan struct{}, 1)}
}

// Ring says that a workspace has events up to position, committed; 0 rings nothing. It never waits.
func (b *Bell) Ring(w pg.Workspace, position int64) {
	if position == 0 {
		return
	}
	b.ring(w.ID)
	b.tell(w.ID)
}

// Any gives a channel that is closed at the next ring of any workspace. Take it before you look.
func (b *Bell) Any() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.any
}

// Of gives a channel that is closed at the next ring of one workspace. Take it before you look.
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

// ring wakes those who wait in this process.
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

// ringAll wakes everybody in this process: any workspace may have moved.
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

// tell notes what the other processes are to be told.
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
