package commands

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/internal/panics"
)

// later runs functions in the background. An answer must not wait for these functions, because its time would tell whether they ran. A few run at
// once, in about the order in which they came.
type later struct {
	mu      sync.Mutex
	waiting []func()
	workers int
	running sync.WaitGroup
	log     *slog.Logger
}

const (
	laterWorkers  = 4
	laterWaiting  = 1000
	laterPatience = 30 * time.Second // for one function
)

// do queues fn, and is false when the queue is full. fn gets a context with the values of ctx that does not end with ctx.
func (l *later) do(ctx context.Context, fn func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= laterWaiting {
		return false
	}
	l.waiting = append(l.waiting, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), laterPatience)
		defer cancel()
		panics.Logged(ctx, l.log, func() { fn(ctx) })
	})
	if l.workers < laterWorkers {
		l.workers++
		l.running.Go(l.work)
	}
	return true
}

func (l *later) work() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.workers--
			l.mu.Unlock()
			return
		}
		fn := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		fn()
	}
}

// Wait waits until the background work of all requests is done, for laterPatience at most. No request may be under way.
func (c *Commands) Wait() {
	done := make(chan struct{})
	go func() {
		c.notes.running.Wait()
		c.mails.running.Wait()
		c.incidents.soon.running.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), laterPatience)
		defer cancel()
		c.incidents.sweep(ctx)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(laterPatience):
	}
	if n := c.incidents.left(); n > 0 {
		c.Log.Warn("refusals, failed log-ins or reads of the log were not recorded", "count", n)
	}
}
