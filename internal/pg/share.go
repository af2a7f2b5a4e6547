package pg

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"
)

// shares keep one workspace from taking all connections: when somebody holds a row that all of its requests want, those that
// are over its share wait without a connection, and its neighbours go on.
type shares struct {
	most int // connections of one workspace at once

	mu sync.Mutex
	of map[uuid.UUID]*share
}

type share struct {
	slots chan struct{}
	users int // that have or want a slot
}

// newShares gives a workspace half of the connections.
func newShares(conns int32) *shares {
	return &shares{most: max(int(conns)/2, 2), of: map[uuid.UUID]*share{}}
}

// take waits for a slot as long as a transaction waits for a connection. The caller gives it back.
func (s *shares) take(ctx context.Context, w Workspace) (giveBack func(), err error) {
	s.mu.Lock()
	mine := s.of[w.ID]
	if mine == nil {
		mine = &share{slots: make(chan struct{}, s.most)}
		s.of[w.ID] = mine
	}
	mine.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(s.of, w.ID)
		}
	}
	select {
	case mine.slots <- struct{}{}:
		return func() { <-mine.slots; leave() }, nil
	default:
	}
	short, cancel := context.WithTimeout(ctx, acquirePatience)
	defer cancel()
	select {
	case mine.slots <- struct{}{}:
		return func() { <-mine.slots; leave() }, nil
	case <-short.Done():
		leave()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("acquire connection: %w", ctx.Err())
		}
		return nil, fmt.Errorf("%w within %s: workspace %s has %d", ErrNoConnection, acquirePatience, w.ID, s.most)
	}
}
