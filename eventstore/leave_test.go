package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
)

// A workspace that a process leaves to another is handled there at once. Leaving is no failure, and the first process is not offered the
// workspace again for a while. Its other workspaces go on.
func TestLeftToAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	left, other := f.workspace(t), f.workspace(t)
	older, newer := newStation(t, f.url), newStation(t, f.url)
	offered, handled := make(chan int64, 100), make(chan eventstore.Signal, 100)
	older.work(t, func(_ context.Context, signal eventstore.Signal) error {
		if signal.Workspace == left {
			offered <- signal.Position
			return eventstore.ErrLeave
		}
		handled <- signal
		return nil
	})
	older.append(t, left)
	receive(t, offered, "the older one")
	for range 5 {
		older.append(t, left)
		older.append(t, other)
		if signal := receive(t, handled, "the other workspace"); signal.Workspace != other {
			t.Errorf("%v", signal)
		}
	}
	until(t, "only the signals of the workspace that is left wait", func() bool { return older.waiting(t) == 6 })
	begun := time.Now()
	newer.work(t, func(_ context.Context, signal eventstore.Signal) error {
		handled <- signal
		return nil
	})
	if signal := receive(t, handled, "the newer one"); signal.Workspace != left || signal.Attempts != 0 {
		t.Errorf("%v", signal)
	}
	newer.settle(t)
	if took := time.Since(begun); took > 20*time.Second || len(offered) > 3 { // a look of each handler may have been under way
		t.Errorf("after %s, offered to the older one %d times more", took, len(offered))
	}
}
