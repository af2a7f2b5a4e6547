package eventstore

import (
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Bell wakes those in this process who wait for new events: the background, and followers of a log. It
// says that there may be something new; what that is, the log says. See listen.go for other processes.
type Bell struct {
	mu     sync.Mutex
	any    chan struct{}               // closed and made anew at each ring
	of     map[uuid.UUID]chan struct{} // likewise, of the workspaces that somebody waits for
	commit func(pg.Workspace)          // tells other processes; nil when there are none
}

// NewBell makes a bell.
func NewBell() *Bell {
	return &Bell{any: make(chan struct{}), of: map[uuid.UUID]chan struct{}{}}
}

// Ring says that a workspace has events up to position; 0 rings nothing.
func (b *Bell) Ring(w pg.Workspace, position int64) {
	if position == 0 {
		return
	}
	b.ring(w.ID)
	if b.commit != nil {
		b.commit(w)
	}
}

func (b *Bell) ring(id uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.any)
	b.any = make(chan struct{})
	if c, waited := b.of[id]; waited {
		close(c)
		delete(b.of, id)
	}
}

// Any gives a channel that is closed at the next ring of any workspace.
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
