package pg_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Light reads that wait go in a few round trips, and each gets its own answer, and that of what they have in common. One that
// fails, and one whose caller leaves, keep nobody else from theirs.
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
		waiting, release := db.LeadGlances(w)
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
		until(func() bool { return waiting() == readers })
		if c.leaves {
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error)
			go func() { _, err := ask(ctx, 1); left <- err }()
			until(func() bool { return waiting() == readers+1 })
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		release()
		reads.Wait()
		times := 0
		asked.Range(func(any, any) bool { times++; return true })
		if trips := line.trips.Load() - before; !c.fails && (trips >= readers || int64(times) > trips) {
			t.Errorf("%s: %d round trips for %d reads, and %d for what they have in common", name, trips, readers, times)
		}
	}
}

func until(is func() bool) {
	for !is() {
		time.Sleep(time.Millisecond)
	}
}

// glance has each workspace read at the same moment, its owner and what more gives, and tells what each saw.
func (c *crowd) glance(t *testing.T, more func(i int) []pg.Statement) (saw []uuid.UUID, errs []error, wait func()) {
	t.Helper()
	waiting, release := c.db.LeadGlances(c.all[0])
	saw, errs = make([]uuid.UUID, len(c.all)), make([]error, len(c.all))
	var reads sync.WaitGroup
	for i, w := range c.all {
		reads.Go(func() {
			errs[i] = c.db.Read(context.WithoutCancel(t.Context()), w, append([]pg.Statement{owner(&saw[i]).Light().Common()}, more(i)...)...)
		})
	}
	until(func() bool { return waiting() == len(c.all) })
	release()
	return saw, errs, reads.Wait
}

// Light reads of several workspaces of a lane go in a few round trips, and each sees the rows of its own workspace alone.
func TestGlancesOfSeveral(t *testing.T) {
	t.Parallel()
	var line *wire
	c := newCrowd(t, 12, func(address string) string { line = newWire(t, address); return line.url })
	few := false
	for round := 0; round < 20 && !few; round++ { // until all connections know the statements of all workspaces
		before := line.trips.Load()
		saw, errs, wait := c.glance(t, func(int) []pg.Statement { return nil })
		wait()
		few = line.trips.Load()-before < 4
		for i, w := range c.all {
			if errs[i] != nil || saw[i] != w.ID {
				t.Errorf("round %d: workspace %s saw the row of %s: %v", round, w.ID, saw[i], errs[i])
			}
		}
		if got := settingsOf(t, c.db.Lane(c.all[0])); !clean(got) {
			t.Errorf("round %d: the connection carries %+v", round, got)
		}
	}
	if !few {
		t.Errorf("each round takes four round trips or more for %d reads", len(c.all))
	}
}

// Whatever one of them asks for, it alone gets the error, and its neighbours see their own rows.
func TestOneGlanceFails(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 6, directly)
	var n int
	for name, fails := range map[string]struct {
		asks string
		code string
	}{
		"no such table": {`select 1 from nothing`, pg.UndefinedTable},
		"not its own":   {`select 1 from ` + c.all[2].Schema() + `.data_key`, pg.AccessDenied},
		"the control":   {`select 1 from kluis.workspace`, pg.AccessDenied},
		"at run time":   {`select 1/(count(*)-count(*)) from data_key`, "22012"},
		"a change":      {`with stored as (insert into data_key (subject, wrapped) values (gen_random_uuid(), 'x') returning 1) select 1 from stored`, pg.ReadOnly},
	} {
		saw, errs, wait := c.glance(t, func(i int) []pg.Statement {
			if i == 3 {
				return []pg.Statement{pg.Exec(fails.asks).Scan(&n).Light()} //sqlcheck:allow the texts above
			}
			return nil
		})
		wait()
		for i, err := range errs {
			switch {
			case i == 3 && !pg.Is(err, fails.code):
				t.Errorf("%s: %v", name, err)
			case i != 3 && (err != nil || saw[i] != c.all[i].ID):
				t.Errorf("%s: a neighbour saw the row of %s, and got %v", name, saw[i], err)
			}
		}
	}
}

// A workspace whose table somebody locks delays its neighbours by no more than a moment, and is read alone for a while.
func TestOneGlanceIsHeld(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 5, directly)
	if _, err := c.admin.Exec(t.Context(), `begin; lock table `+c.all[2].Schema()+`.data_key`); err != nil {
		t.Fatal(err)
	}
	var answered sync.WaitGroup
	answered.Add(len(c.all) - 1)
	saw, errs, wait := c.glance(t, func(i int) []pg.Statement {
		if i == 2 {
			return nil
		}
		return []pg.Statement{pg.Exec(`select 1`).Scan(&answeredOnce{do: answered.Done}).Light()}
	})
	answered.Wait() // while the lock is held
	if !c.db.Apart(c.all[2]) {
		t.Error("the workspace goes with its neighbours as before")
	}
	if _, err := c.admin.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	wait()
	for i, w := range c.all {
		if errs[i] != nil || saw[i] != w.ID {
			t.Errorf("workspace %s saw the row of %s: %v", w.ID, saw[i], errs[i])
		}
	}
}

// answeredOnce is a column that tells when it was read first.
type answeredOnce struct {
	once sync.Once
	do   func()
}

func (a *answeredOnce) Scan(any) error {
	a.once.Do(a.do)
	return nil
}
