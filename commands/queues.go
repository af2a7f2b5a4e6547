package commands

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/panics"
)

// queues runs functions in the background, so that no answer waits for them. The functions of one key run one after the other, in the order in which
// they came. A slow key delays no other key.
type queues struct {
	mu      sync.Mutex
	last    map[uuid.UUID]chan struct{} // closed when the last function of a key is done
	waiting int
	running sync.WaitGroup
	log     *slog.Logger
}

// do queues fn, and is false when the queue is full. fn gets a context with the values of ctx that does not end with ctx.
func (q *queues) do(ctx context.Context, key uuid.UUID, fn func(context.Context)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= laterWaiting {
		return false
	}
	if q.last == nil {
		q.last = map[uuid.UUID]chan struct{}{}
	}
	before, done := q.last[key], make(chan struct{})
	q.last[key] = done
	q.waiting++
	q.running.Go(func() {
		defer q.end(key, done)
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), laterPatience)
		defer cancel()
		panics.Logged(ctx, q.log, func() { fn(ctx) })
	})
	return true
}

func (q *queues) end(key uuid.UUID, done chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting--
	if q.last[key] == done {
		delete(q.last, key)
	}
	close(done)
}

// wait waits until the functions that were queued for a key so far are done, for most at most.
func (q *queues) wait(key uuid.UUID, most time.Duration) {
	q.mu.Lock()
	last := q.last[key]
	q.mu.Unlock()
	if last == nil {
		return
	}
	select {
	case <-last:
	case <-time.After(most):
	}
}
