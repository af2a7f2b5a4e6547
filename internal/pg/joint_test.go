package pg_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

// crowd is several workspaces of one lane.
type crowd struct {
	db    *pg.DB
	admin *pgx.Conn
	all   []pg.Workspace
	took  []time.Duration // what each was answered after, the last time
}

// newCrowd makes n workspaces in a database that is reached by another address.
func newCrowd(t *testing.T, n int, reach func(address string) string) *crowd {
	t.Helper()
	address := newDatabase(t)
	c := &crowd{db: open(t, reach(address), 6), admin: superuser(t, address)}
	setup := open(t, address, 2)
	for range n {
		c.all = append(c.all, newWorkspace(t, setup))
	}
	return c
}

func directly(address string) string { return address }

// together has each workspace do its statements at the same moment, and gives the errors.
func (c *crowd) together(t *testing.T, statements func(i int) []pg.Statement) []error {
	t.Helper()
	waiting, release := c.db.Lead(c.all[0])
	errs := make([]error, len(c.all))
	c.took = make([]time.Duration, len(c.all))
	begun := make(chan time.Time)
	var calls sync.WaitGroup
	for i, w := range c.all {
		calls.Go(func() {
			errs[i] = c.db.Together(context.WithoutCancel(t.Context()), w, statements(i)...)
			c.took[i] = time.Since(<-begun)
		})
	}
	for waiting() < len(c.all) {
		time.Sleep(time.Millisecond)
	}
	at := time.Now()
	release()
	for range c.all {
		begun <- at
	}
	calls.Wait()
	return errs
}

// transactions counts those that stored something in the workspaces, beside what newWorkspace stored; rows are what each has.
func (c *crowd) transactions(t *testing.T) (transactions int, rows []int) {
	t.Helper()
	seen := map[string]bool{}
	for _, w := range c.all {
		found, _ := c.admin.Query(t.Context(), `select xmin::text from `+w.Schema()+`.data_key where subject <> $1`, w.ID)
		ids, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, len(ids))
		for _, id := range ids {
			seen[id] = true
		}
	}
	return len(seen), rows
}

// What several workspaces of a lane want at the same moment is one transaction, in which each sees and changes its own rows alone.
func TestTogether(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 8, directly)
	saw := make([]uuid.UUID, len(c.all))
	for i, err := range c.together(t, func(i int) []pg.Statement { return []pg.Statement{owner(&saw[i]), insertKey(uuid.Must(uuid.NewV7()))} }) {
		if err != nil || saw[i] != c.all[i].ID {
			t.Errorf("workspace %s saw the row of %s: %v", c.all[i].ID, saw[i], err)
		}
	}
	if n, rows := c.transactions(t); n != 1 || fmt.Sprint(rows) != "[1 1 1 1 1 1 1 1]" {
		t.Errorf("%d transactions, rows %d: want one, and a row each", n, rows)
	}
	if got := settingsOf(t, c.db.Lane(c.all[0])); !clean(got) {
		t.Errorf("the connection carries %+v", got)
	}
}

func panicked(err error) bool { return errors.As(err, new(*panics.Error)) }

// Whatever one of them does, it alone gets the error, and the others are stored: in one transaction unless the one was stored, too.
func TestOneOfThemFails(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 6, directly)
	var n int
	for name, fails := range map[string]struct {
		statements []pg.Statement
		is         func(error) bool
		stored     bool
	}{
		"a duplicate":    {[]pg.Statement{insertKey(uuid.New()), insertKey(c.all[3].ID)}, func(err error) bool { return pg.Is(err, pg.UniqueViolation) }, false},
		"no such table":  {[]pg.Statement{insertKey(uuid.New()), pg.Exec(`select from nothing`)}, func(err error) bool { return pg.Is(err, pg.UndefinedTable) }, false},
		"not its own":    {[]pg.Statement{insertKey(uuid.New()), pg.Exec(`select from ` + c.all[2].Schema() + `.data_key`)}, func(err error) bool { return pg.Is(err, pg.AccessDenied) }, false},
		"the control":    {[]pg.Statement{pg.Exec(`select from kluis.workspace`), insertKey(uuid.New())}, func(err error) bool { return pg.Is(err, pg.AccessDenied) }, false},
		"at run time":    {[]pg.Statement{insertKey(uuid.New()), pg.Exec(`select 1/(count(*)-count(*)) from data_key`)}, func(err error) bool { return pg.Is(err, "22012") }, false},
		"no row to scan": {[]pg.Statement{insertKey(uuid.New()), pg.Exec(`select 1 from data_key where false`).Scan(&n)}, func(err error) bool { return errors.Is(err, pgx.ErrNoRows) }, true},
		"a panic":        {[]pg.Statement{insertKey(uuid.New()), pg.Collect(&[]int{}, func(pgx.CollectableRow) (int, error) { panic("at a row") }, `select 1`)}, panicked, true},
	} {
		before, _ := c.transactions(t)
		_, had := c.transactions(t)
		saw := make([]uuid.UUID, len(c.all))
		errs := c.together(t, func(i int) []pg.Statement {
			if i == 3 {
				return fails.statements
			}
			return []pg.Statement{insertKey(uuid.Must(uuid.NewV7())), owner(&saw[i])}
		})
		after, rows := c.transactions(t)
		for i, err := range errs {
			gained, want := rows[i]-had[i], 1
			switch {
			case i != 3 && (err != nil || saw[i] != c.all[i].ID):
				t.Errorf("%s: a neighbour saw the row of %s, and got %v", name, saw[i], err)
			case i == 3 && !fails.is(err):
				t.Errorf("%s: %v", name, err)
			case i == 3 && !fails.stored:
				want = 0
			}
			if gained != want {
				t.Errorf("%s: workspace %d has %d more rows, want %d", name, i, gained, want)
			}
		}
		if after-before != 1 {
			t.Errorf("%s: %d transactions stored what the others wanted", name, after-before)
		}
		if got := settingsOf(t, c.db.Lane(c.all[0])); !clean(got) {
			t.Errorf("%s: the connection carries %+v", name, got)
		}
	}
}

// A workspace that is closed is refused alone.
func TestOneOfThemIsClosed(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 4, directly)
	role := c.all[1].Schema()
	if _, err := c.admin.Exec(t.Context(), `revoke `+role+` from `+c.db.Login()); err != nil {
		t.Fatal(err)
	}
	for i, err := range c.together(t, func(int) []pg.Statement { return []pg.Statement{insertKey(uuid.Must(uuid.NewV7()))} }) {
		if outage, _ := pg.OutageOf(err); (i == 1) != (outage == pg.Closed) || i != 1 && err != nil {
			t.Errorf("workspace %d: %v", i, err)
		}
	}
	if n, rows := c.transactions(t); n != 1 || fmt.Sprint(rows) != "[1 0 1 1]" {
		t.Errorf("%d transactions, rows %d", n, rows)
	}
}

// A workspace whose row somebody holds delays its neighbours by no more than a moment, whether it comes with them or before them.
func TestOneOfThemIsHeld(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 5, directly)
	if _, err := c.admin.Exec(t.Context(), `begin; lock table `+c.all[2].Schema()+`.data_key`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		errs := c.together(t, func(int) []pg.Statement { return []pg.Statement{insertKey(uuid.Must(uuid.NewV7()))} })
		for i, err := range errs {
			if outage, _ := pg.OutageOf(err); (i == 2) != (outage == pg.Busy) || i != 2 && (err != nil || c.took[i] > 3*time.Second) {
				t.Errorf("workspace %d after %s: %v", i, c.took[i], err)
			}
		}
	}
	if _, err := c.admin.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	if n, rows := c.transactions(t); n != 2 || fmt.Sprint(rows) != "[2 2 0 2 2]" {
		t.Errorf("%d transactions, rows %d: want two of all but one", n, rows)
	}
}

// When the connection is lost, nobody knows: each is told so, and all of them are stored, or none.
func TestTogetherLost(t *testing.T) {
	t.Parallel()
	var line *wire
	c := newCrowd(t, 4, func(address string) string { line = newWire(t, address); return line.url })
	insert := func(int) []pg.Statement { return []pg.Statement{insertKey(uuid.Must(uuid.NewV7()))} }
	if errs := c.together(t, insert); errors.Join(errs...) != nil { // prepared
		t.Fatal(errs)
	}
	line.mu.Lock()
	line.cutBefore = func(kind byte, _ []byte) bool { return kind == 'S' }
	line.mu.Unlock()
	for _, err := range c.together(t, insert) {
		if err == nil || !pg.Lost(err) {
			t.Errorf("%v, want a lost connection", err)
		}
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) { // the server may still be at it
		_, rows := c.transactions(t)
		if text := fmt.Sprint(rows); text == "[1 1 1 1]" || text == "[2 2 2 2]" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("rows %d, want all or none", rows)
		}
	}
}
