package pg_test

import (
	"context"
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
	if db.Lane(w) != db.Lane(neighbour) {
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

// A connection on which too much is prepared is closed when it is given back, and another goes on.
func TestPreparedIsBounded(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	w := newWorkspace(t, db)
	before := backend(t, db, w)
	db.Forget(w)
	if n := keys(t, db, w); n != 1 {
		t.Errorf("%d keys", n)
	}
	after := backend(t, db, w)
	if after == before {
		t.Error("the connection with too many statements is still there")
	}
	if n := keys(t, db, w); n != 1 || backend(t, db, w) != after {
		t.Errorf("%d keys, or the new connection is not kept", n)
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
