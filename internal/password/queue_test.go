package password

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever fills the queue from one network waits behind themselves: others come in, and have their turn at once.
func TestOneNetworkFillsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2, 10)
		var flooded, sentAway atomic.Int32
		enter := func(network string, done func(error)) {
			go func() {
				err := q.enter(t.Context(), network)
				done(err)
				if err == nil {
					time.Sleep(time.Second)
					q.exit()
				}
			}()
			synctest.Wait()
		}
		for range 12 {
			enter("flood", func(err error) {
				switch {
				case err == nil:
					flooded.Add(1)
				case errors.Is(err, ErrBusy):
					sentAway.Add(1)
				}
			})
		}
		if err := q.enter(t.Context(), "flood"); !errors.Is(err, ErrBusy) {
			t.Errorf("another of those who fill it: %v", err)
		}
		begun := time.Now()
		var waits sync.Map
		for i := range 4 {
			enter(fmt.Sprint(i), func(err error) {
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
				waits.Store(i, time.Since(begun))
			})
		}
		if n := sentAway.Load(); n != 4 {
			t.Errorf("%d of the flood gave way, want 4", n)
		}
		time.Sleep(10 * time.Second)
		for i := range 4 {
			if wait, _ := waits.Load(i); wait == nil || wait.(time.Duration) > 3*time.Second {
				t.Errorf("%d waited %v", i, wait)
			}
		}
		if n := flooded.Load(); n != 8 || q.free != 2 || q.waiting != 0 || len(q.lines)+len(q.turns) != 0 {
			t.Errorf("%d of the flood had a slot; %d are free, %d wait", n, q.free, q.waiting)
		}
	})
}

// No slot is lost and none is given twice, whoever gives up when.
func TestQueueKeepsItsSlots(t *testing.T) {
	t.Parallel()
	q := newQueue(3, 20)
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration((i*j)%7)*100*time.Microsecond)
				if q.enter(ctx, fmt.Sprint(i%4)) == nil {
					n := inside.Add(1)
					for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
					}
					time.Sleep(50 * time.Microsecond)
					inside.Add(-1)
					q.exit()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 || q.free != 3 || q.waiting != 0 || len(q.lines)+len(q.turns) != 0 {
		t.Errorf("%d at once, %d slots are free, %d wait, %d lines", most.Load(), q.free, q.waiting, len(q.lines))
	}
}
