package pg_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// One workspace whose row somebody holds takes its share of its lane, and its neighbour there has the connection that is left. Those
// over the share are refused as busy, when their turn does not come.
func TestLaneShare(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db, setup := open(t, address, 6), open(t, address, 2)
	w, neighbour := newWorkspace(t, setup), newWorkspace(t, setup)
	if db.Lane(w)[0] != db.Lane(neighbour)[0] {
		t.Fatal("they have lanes of their own")
	}
	holder := superuser(t, address)
	if _, err := holder.Exec(t.Context(), `begin; lock table `+w.Schema()+`.data_key`); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	var busy atomic.Int64
	for range 20 {
		waiting.Go(func() {
			err := db.Do(context.Background(), w, insertKey(uuid.New()))
			if o, _ := pg.OutageOf(err); o != pg.Busy {
				t.Errorf("%v, want busy", err)
			}
			busy.Add(1)
		})
	}
	for busy.Load() == 0 {
		begun := time.Now()
		if n := keys(t, db, neighbour); n != 1 || time.Since(begun) > 4*time.Second {
			t.Fatalf("%d keys after %s", n, time.Since(begun))
		}
		time.Sleep(10 * time.Millisecond)
	}
	waiting.Wait() // for seconds
	if _, err := holder.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, db, w); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// On a connection on which too much is prepared, workspaces lose what they had there, and get it again when they come. In the end it is
// closed, and another goes on.
func TestPreparedIsBounded(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 1)
	w, other := newWorkspace(t, db), newWorkspace(t, db)
	stored := func() (n int) {
		for _, pool := range db.Lane(w) {
			var more int
			if err := pool.QueryRow(t.Context(), `select count(*) from pg_prepared_statements where name like 'ws_%'`).Scan(&more); err != nil {
				t.Fatal(err)
			}
			n += more
		}
		return n
	}
	use := func() {
		for _, w := range []pg.Workspace{w, other} {
			if n := keys(t, db, w); n != 1 {
				t.Errorf("%d keys", n)
			}
		}
	}
	use()
	before, first := stored(), backends(t, db, w)
	most := db.Plans() * 3 / 4
	db.LimitPlans(most, 1)
	use()
	if n := stored(); n >= before || db.Plans() > most {
		t.Errorf("%d statements were prepared, and %d are, in %d bytes where %d are allowed", before, n, db.Plans(), most)
	}
	use()
	if now := backends(t, db, w); !slices.Equal(now, first) {
		t.Errorf("the connections were %d, and are %d", first, now)
	}
	db.LimitPlans(1, 1)
	use()
	after := backends(t, db, w)
	if slices.Equal(after, first) {
		t.Error("the connection that remembers too much is still there")
	}
	db.LimitPlans(1<<30, 1<<20)
	use()
	after = backends(t, db, w)
	if use(); !slices.Equal(backends(t, db, w), after) {
		t.Error("the new connection is not kept")
	}
	if stored() == 0 || db.Plans() <= 0 || db.Plans() > 2*most {
		t.Errorf("%d statements are prepared, in %d bytes", stored(), db.Plans())
	}
	db.Close()
	if n := db.Plans(); n != 0 {
		t.Errorf("with all connections closed, %d bytes are counted", n)
	}
}

// A statement that is first run when its table is nearly empty gets a plan that is right when the table has grown: the lane keeps it.
func TestLanePlansByIndex(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	if _, err := superuser(t, address).Exec(t.Context(), `insert into `+w.Schema()+`.event (position, id, stream, version, type, at, data)
		values (1, gen_random_uuid(), 'x', 1, 'x', now(), '{}'); analyze `+w.Schema()+`.event`); err != nil {
		t.Fatal(err)
	}
	var plan []string
	if err := db.Do(t.Context(), w, pg.Column(&plan, `explain update reaction set position = head.position from head where head.position > reaction.position
		and not exists (select from event where event.position > reaction.position and event.position <= head.position and type = any($1))`, []string{"a", "b"})); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "on event") || strings.Contains(text, "Seq Scan on event") {
		t.Error(text)
	}
}
