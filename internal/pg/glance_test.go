package pg_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// busy takes all connections that a workspace has, has do called, waits until so many light reads wait, and gives the connections back.
func busy(t *testing.T, db *pg.DB, w pg.Workspace, reads int, do func()) {
	t.Helper()
	release := make(chan struct{})
	var holders, holding sync.WaitGroup
	for range pg.LaneShare {
		holding.Add(1)
		holders.Go(func() {
			if err := db.In(context.WithoutCancel(t.Context()), w, func(tx *pg.Tx) error {
				var n int
				err := tx.Run(t.Context(), countKeys(&n))
				holding.Done()
				<-release
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	holding.Wait()
	do()
	for db.Glancing(w) < reads {
		time.Sleep(time.Millisecond)
	}
	close(release)
	holders.Wait()
}

// Light reads that wait for a connection of their workspace go in a few round trips, and each gets its own answer, and that of what they have
// in common. One that fails, and one whose caller leaves, keep nobody else from theirs.
func TestGlances(t *testing.T) {
	t.Parallel()
	line := newWire(t, newDatabase(t))
	db := open(t, line.url, 6)
	w := newWorkspace(t, db)
	const readers = 24
	var asked sync.Map // when the database was asked for what is in common
	ask := func(ctx context.Context, number int) (answer int, err error) {
		var at time.Time
		err = db.Read(ctx, w, pg.Exec(`select clock_timestamp()`).Scan(&at).Light().Common(), pg.Exec(`select 100 / $1::int`, number).Scan(&answer).Light())
		if err == nil && at.IsZero() {
			err = errors.New("nothing in common was read")
		}
		if err == nil {
			asked.Store(at, true)
		}
		return answer, err
	}
	for name, c := range map[string]struct{ fails, leaves bool }{"all well": {}, "one fails": {fails: true}, "one leaves": {leaves: true}} {
		var reads sync.WaitGroup
		before := line.trips.Load()
		asked.Clear()
		busy(t, db, w, readers, func() {
			for i := range readers {
				number := i + 1
				if c.fails && i == 7 {
					number = 0
				}
				reads.Go(func() {
					answer, err := ask(t.Context(), number)
					if number == 0 && err == nil || number != 0 && (err != nil || answer != 100/number) {
						t.Errorf("%s: 100 / %d is %d, %v", name, number, answer, err)
					}
				})
			}
			if c.leaves {
				for db.Glancing(w) < readers { // two of whom lead
					time.Sleep(time.Millisecond)
				}
				ctx, leave := context.WithCancel(t.Context())
				left := make(chan error)
				go func() { _, err := ask(ctx, 1); left <- err }()
				for db.Glancing(w) < readers+1 {
					time.Sleep(time.Millisecond)
				}
				leave()
				if err := <-left; !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
		reads.Wait()
		times := 0
		asked.Range(func(any, any) bool { times++; return true })
		if trips := line.trips.Load() - before; !c.fails && (trips >= readers || int64(times) > trips) {
			t.Errorf("%s: %d round trips for %d reads, and %d for what they have in common", name, trips, readers, times)
		}
	}
}
