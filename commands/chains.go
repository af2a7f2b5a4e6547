package commands

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// chains does what an answer must not wait for: for each key one after the other, in the order in which it came; what is
// slow for one key holds up no other.
type chains struct {
	mu      sync.Mutex
	last    map[uuid.UUID]chan struct{} // closed when the last thing of a key is done
	waiting int
	running sync.WaitGroup
}

// do takes fn, which gets the values of ctx but not its end, or says that there is no room.
func (c *chains) do(ctx context.Context, key uuid.UUID, fn func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting >= laterWaiting {
		return false
	}
	if c.last == nil {
		c.last = map[uuid.UUID]chan struct{}{}
	}
	before, done := c.last[key], make(chan struct{})
	c.last[key] = done
	c.waiting++
	c.running.Go(func() {
		defer c.end(key, done)
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), laterPatience)
		defer cancel()
		fn(ctx)
	})
	return true
}

func (c *chains) end(key uuid.UUID, done chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if c.last[key] == done {
		delete(c.last, key)
	}
	close(done)
}

// wait waits until what was taken for a key so far is done, but no longer than most.
func (c *chains) wait(key uuid.UUID, most time.Duration) {
	c.mu.Lock()
	last := c.last[key]
	c.mu.Unlock()
	if last == nil {
		return
	}
	select {
	case <-last:
	case <-time.After(most):
	}
}
