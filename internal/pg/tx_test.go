package pg_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// What each door to the database costs, in round trips, on a connection that has prepared the statements of the workspace
// before.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	line := newWire(t, newDatabase(t))
	db := open(t, line.url, 1)
	a, b := newWorkspace(t, db), newWorkspace(t, db)
	ctx := within(t, time.Minute)
	var n int
	var id uuid.UUID
	for name, c := range map[string]struct {
		want int64
		do   func(w pg.Workspace) error
	}{
		"Do":   {1, func(w pg.Workspace) error { return db.Do(ctx, w, countKeys(&n), owner(&id)) }},
		"Read": {1, func(w pg.Workspace) error { return db.Read(ctx, w, countKeys(&n), owner(&id)) }},
		"In, Commit alone": {1, func(w pg.Workspace) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Commit(ctx, countKeys(&n)) })
		}},
		"In, Run and Commit": {2, func(w pg.Workspace) error {
			return db.In(ctx, w, func(tx *pg.Tx) error {
				if err := tx.Run(ctx, countKeys(&n)); err != nil {
					return err
				}
				return tx.Commit(ctx, owner(&id))
			})
		}},
		"In, Run and the commit of In": {2, func(w pg.Workspace) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Run(ctx, countKeys(&n)) })
		}},
		"In, nothing": {0, func(w pg.Workspace) error { return db.In(ctx, w, func(*pg.Tx) error { return nil }) }},
		"In, an error before anything was sent": {0, func(w pg.Workspace) error {
			if err := db.In(ctx, w, func(*pg.Tx) error { return errOurs }); !errors.Is(err, errOurs) {
				t.Errorf("%v", err)
			}
			return nil
		}},
	} {
		for _, w := range []pg.Workspace{a, b} {
			if err := c.do(w); err != nil { // what a workspace uses for the first time on a connection costs more
				t.Fatalf("%s: %v", name, err)
			}
			before := line.trips.Load()
			if err := c.do(w); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if trips := line.trips.Load() - before; trips != c.want {
				t.Errorf("%s: %d round trips, want %d", name, trips, c.want)
			}
		}
	}
}

// A connection prepares each text once for each workspace that uses it, so that it is planned once: one name, one search_path.
func TestPreparesOnce(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	setup := open(t, url, 1)
	workspaces := []pg.Workspace{newWorkspace(t, setup), newWorkspace(t, setup), newWorkspace(t, setup)}
	line := newWire(t, url)
	db := open(t, line.url, 1)
	ctx := within(t, time.Minute)
	var counts []int64
	for range 3 {
		for _, w := range workspaces {
			var id uuid.UUID
			var n int
			if err := db.Do(ctx, w, owner(&id), countKeys(&n)); err != nil {
				t.Fatal(err)
			}
			if id != w.ID || n != 1 {
				t.Errorf("workspace %s sees %s, %d keys", w.ID, id, n)
			}
		}
		counts = append(counts, line.prepare.Load())
	}
	// two texts for each of three, and pgx' own cache of enter (once with begin and rollback, which the first use sends apart)
	if counts[0] > 2*3+4 || counts[2] > counts[0]+1 {
		t.Errorf("named statements prepared after each round: %d", counts)
	}
	rows, _ := db.Lane(workspaces[0])[pg.ForWrites].Query(ctx, `select substring(name from '^ws_[0-9a-f]{32}'), count(*)::int, coalesce(sum(custom_plans), 0)::int
		from pg_prepared_statements where statement like '%data_key%' and statement not like '%pg_prepared%' group by 1`)
	for range workspaces {
		var of string
		var stored, planned int
		if !rows.Next() {
			t.Fatalf("not every workspace has statements: %v", rows.Err())
		}
		if err := rows.Scan(&of, &stored, &planned); err != nil || stored != 2 || planned != 0 {
			t.Errorf("%s has %d prepared statements on data_key, planned anew %d times, %v; want 2, never", of, stored, planned, err)
		}
	}
	rows.Close()
}

// Whatever becomes of a transaction, its connection carries nothing of a workspace afterwards.
func TestSettingsEnd(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 1)
	w := newWorkspace(t, db)
	pools := append(db.Lane(w), db.Pool())
	before := settingsOf(t, pools)
	if !clean(before) {
		t.Fatalf("at the beginning: %+v", before)
	}
	for name, do := range map[string]func(ctx context.Context) error{
		"Do":                      func(ctx context.Context) error { return db.Do(ctx, w, insertKey(uuid.New())) },
		"Read":                    func(ctx context.Context) error { var n int; return db.Read(ctx, w, countKeys(&n)) },
		"Do, refused by Postgres": func(ctx context.Context) error { return db.Do(ctx, w, insertKey(w.ID)) },
		"Do, no such table":       func(ctx context.Context) error { return db.Do(ctx, w, pg.Exec(`select * from nothing`)) },
		"Do, division by zero": func(ctx context.Context) error {
			return db.Do(ctx, w, pg.Exec(`select 1/(count(*)-count(*)) from data_key`))
		},
		"Read, which cannot write": func(ctx context.Context) error { return db.Read(ctx, w, insertKey(uuid.New())) },
		"Do, no row to scan": func(ctx context.Context) error {
			var id uuid.UUID
			return db.Do(ctx, w, pg.Exec(`select subject from data_key where false`).Scan(&id))
		},
		"Do, of the wrong type": func(ctx context.Context) error {
			var n int
			return db.Do(ctx, w, pg.Exec(`select wrapped from data_key`).Scan(&n))
		},
		"In, an error of ours": func(ctx context.Context) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return errors.Join(tx.Run(ctx, insertKey(uuid.New())), errOurs) })
		},
		"In, an error of Postgres'": func(ctx context.Context) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Run(ctx, insertKey(w.ID)) })
		},
		"In, an error hidden by fn": func(ctx context.Context) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { _ = tx.Run(ctx, insertKey(w.ID)); return nil })
		},
		"In, a panic": func(ctx context.Context) error {
			defer func() { _ = recover() }()
			return db.In(ctx, w, func(tx *pg.Tx) error { _ = tx.Run(ctx, insertKey(uuid.New())); panic("x") })
		},
		"In, a script": func(ctx context.Context) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Script(ctx, `select 1; select count(*) from data_key`) })
		},
		"In, a broken script": func(ctx context.Context) error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Script(ctx, `select 1; select broken`) })
		},
		"InAsOwner": func(ctx context.Context) error {
			return db.InAsOwner(ctx, w, func(tx *pg.Tx) error { return tx.Run(ctx, insertKey(uuid.New())) })
		},
		"InShadow, without one": func(ctx context.Context) error {
			return db.InShadow(ctx, pg.NewShadow(w), func(tx *pg.Tx) error { return tx.Run(ctx, insertKey(uuid.New())) })
		},
		"Own": func(ctx context.Context) error {
			return db.Own(ctx, w.Schema(), func(tx pgx.Tx) error { _, err := tx.Exec(ctx, `select count(*) from data_key`); return err })
		},
		"Own, an error": func(ctx context.Context) error {
			return db.Own(ctx, w.Schema(), func(tx pgx.Tx) error { return errOurs })
		},
		"a workspace not there": func(ctx context.Context) error {
			var n int
			return db.Do(ctx, pg.Workspace{ID: uuid.New()}, countKeys(&n))
		},
		"cancelled in a query": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			return db.Do(ctx, w, pg.Exec(`select pg_sleep(5)`))
		},
		"cancelled between two": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			return db.In(ctx, w, func(tx *pg.Tx) error {
				err := tx.Run(ctx, insertKey(uuid.New()))
				cancel()
				return errors.Join(err, tx.Run(ctx, insertKey(uuid.New())))
			})
		},
	} {
		_ = do(within(t, time.Minute)) // twice: the second time the statements are prepared
		_ = do(within(t, time.Minute))
		if got := settingsOf(t, pools); !slices.Equal(got, before) {
			t.Errorf("after %s: %+v, want %+v", name, got, before)
		}
		var n int
		if err := db.Read(within(t, time.Minute), w, countKeys(&n)); err != nil {
			t.Errorf("after %s the pool cannot be used: %v", name, err)
		}
	}
}

// What fails, fails whole; and the connection that it failed on goes on, unless it was broken off in a query.
func TestRollback(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	w := newWorkspace(t, db)
	ctx := within(t, time.Minute)
	pids := backends(t, db, w)
	for name, do := range map[string]func() error{
		"Do, the second statement fails": func() error { return db.Do(ctx, w, insertKey(uuid.New()), insertKey(w.ID)) },
		"Do, the first statement fails":  func() error { return db.Do(ctx, w, insertKey(w.ID), insertKey(uuid.New())) },
		"In, an answer cannot be read": func() error {
			return db.In(ctx, w, func(tx *pg.Tx) error {
				var n int
				return tx.Run(ctx, insertKey(uuid.New()), pg.Exec(`select wrapped from data_key limit 1`).Scan(&n))
			})
		},
		"In, an error of ours": func() error {
			return db.In(ctx, w, func(tx *pg.Tx) error { return errors.Join(tx.Run(ctx, insertKey(uuid.New())), errOurs) })
		},
		"In, the second round fails": func() error {
			return db.In(ctx, w, func(tx *pg.Tx) error {
				if err := tx.Run(ctx, insertKey(uuid.New())); err != nil {
					return err
				}
				return tx.Commit(ctx, insertKey(uuid.New()), insertKey(w.ID))
			})
		},
		"In, the failure is hidden by fn": func() error {
			return db.In(ctx, w, func(tx *pg.Tx) error {
				_ = tx.Run(ctx, insertKey(uuid.New()), insertKey(w.ID))
				return nil
			})
		},
	} {
		for range 2 {
			if err := do(); err == nil {
				t.Errorf("%s: no error", name)
			}
			if n := keys(t, db, w); n != 1 {
				t.Fatalf("%s: %d keys, want 1", name, n)
			}
		}
		again := backends(t, db, w)
		if !slices.Equal(again, pids) && !strings.Contains(name, "hidden") {
			t.Errorf("%s: the connection was thrown away", name)
		}
		pids = again
	}
	if err := db.Do(ctx, w, insertKey(uuid.New()), insertKey(uuid.New())); err != nil || keys(t, db, w) != 3 {
		t.Errorf("a good one: %v", err)
	}
}

// The commit travels with the last statements, so it is too late when the program cannot read their answers: an
// error that is not Postgres' own does not say that nothing was stored. It leaves the connection whole.
func TestUnreadAnswerIsStored(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	w := newWorkspace(t, db)
	ctx := within(t, time.Minute)
	pids := backends(t, db, w)
	var n int
	for i, unread := range []pg.Statement{
		pg.Exec(`select 1 where false`).Scan(&n),
		pg.Exec(`select wrapped from data_key limit 1`).Scan(&n),
	} {
		for j, do := range []func(...pg.Statement) error{
			func(s ...pg.Statement) error { return db.Do(ctx, w, s...) },
			func(s ...pg.Statement) error {
				return db.In(ctx, w, func(tx *pg.Tx) error { return tx.Commit(ctx, s...) })
			},
		} {
			if err := do(insertKey(uuid.New()), unread); err == nil || pg.Is(err, pg.UniqueViolation) {
				t.Errorf("%v", err)
			}
			if n, want := keys(t, db, w), 2+2*i+j; n != want {
				t.Errorf("%d keys, want %d", n, want)
			}
		}
	}
	if again := backends(t, db, w); !slices.Equal(again, pids) {
		t.Error("the connection was thrown away")
	}
}

// After its commit a transaction takes no more.
func TestEnded(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	w := newWorkspace(t, db)
	ctx := within(t, time.Minute)
	err := db.In(ctx, w, func(tx *pg.Tx) error {
		if err := tx.Commit(ctx, insertKey(uuid.New())); err != nil {
			return err
		}
		return tx.Run(ctx, insertKey(uuid.New()))
	})
	if err == nil || keys(t, db, w) != 2 {
		t.Errorf("%v, %d keys: want an error, and 2 keys", err, keys(t, db, w))
	}
}

// Broken off in the middle of a query, a pool of any size can be used at once, and nothing is stored.
func TestCancelMidQuery(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 4)
	w := newWorkspace(t, db)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i*3)*time.Millisecond)
			defer cancel()
			if err := db.Do(ctx, w, insertKey(uuid.New()), pg.Exec(`select pg_sleep(10)`)); err == nil {
				t.Error("no error")
			}
		})
	}
	wg.Wait()
	begun := time.Now()
	for range 8 {
		wg.Go(func() {
			if n := keys(t, db, w); n != 1 {
				t.Errorf("%d keys, want 1", n)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the pool was stuck for %s", took)
	}
}

// Read writes nothing, and all of its statements see one moment.
func TestReadIsOneSnapshot(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 4)
	w := newWorkspace(t, db)
	ctx := within(t, time.Minute)
	if err := db.Read(ctx, w, insertKey(uuid.New())); !pg.Is(err, "25006") {
		t.Errorf("a write in Read: %v, want read_only_sql_transaction", err)
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := db.Do(context.Background(), w, insertKey(uuid.New())); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		var before, after int
		if err := db.Read(ctx, w, countKeys(&before), pg.Exec(`select pg_sleep(0.02)`), countKeys(&after)); err != nil {
			t.Fatal(err)
		}
		if before != after {
			t.Errorf("%d rows and then %d in one Read", before, after)
		}
	}
	close(stop)
	writer.Wait()
}

// A read goes on by itself on another connection when its own turns out to be dead; a write does not, because only
// the database knows what became of it.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 1)
	w := newWorkspace(t, db)
	admin := superuser(t, url)
	ctx := within(t, time.Minute)
	kill := func() {
		t.Helper()
		if _, err := admin.Exec(ctx, `select pg_terminate_backend(pid, 5000) from unnest($1::int[]) as pid`, backends(t, db, w)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		kill()
		if n := keys(t, db, w); n != 1 {
			t.Errorf("%d keys", n)
		}
	}
	kill()
	err := db.Do(ctx, w, insertKey(uuid.New()))
	if n := keys(t, db, w); err == nil && n != 2 || err != nil && n != 1 {
		t.Errorf("%v, and %d keys", err, n)
	}
	if err != nil && !pg.Lost(err) {
		t.Errorf("Lost(%v) is false", err)
	}
}

// A commit whose answer is lost is an error that is none of Postgres'.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	line := newWire(t, url)
	db, setup := open(t, line.url, 1), open(t, url, 1)
	w := newWorkspace(t, setup)
	ctx := within(t, time.Minute)
	if err := db.Do(ctx, w, insertKey(uuid.New())); err != nil { // prepared
		t.Fatal(err)
	}
	sent := false
	line.mu.Lock()
	line.cutBefore = func(kind byte, _ []byte) bool { // the message behind the Sync never comes: cut at the Sync itself
		if kind == 'S' && !sent {
			sent = true
			return true
		}
		return false
	}
	line.mu.Unlock()
	err := db.Do(ctx, w, insertKey(uuid.New()))
	if err == nil || !pg.Lost(err) || pg.Is(err, pg.UniqueViolation) {
		t.Errorf("cut before the Sync: %v, want a lost connection", err)
	}
	if n := keys(t, setup, w); n != 2 {
		t.Errorf("%d keys, want 2: what was cut before its Sync is stored", n)
	}
	if err := db.Do(ctx, w, insertKey(uuid.New())); err != nil {
		t.Errorf("the pool afterwards: %v", err)
	}
}

// Names in a shadow lead to shadow tables alone: without one there is nothing, and never the live table.
func TestInShadow(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 2)
	w := newWorkspace(t, db)
	ctx := within(t, time.Minute)
	err := db.InShadow(ctx, pg.NewShadow(w), func(tx *pg.Tx) error { return tx.Run(ctx, insertKey(uuid.New())) })
	if !pg.Is(err, pg.UndefinedTable) {
		t.Errorf("a shadow that is not there: %v, want an undefined table", err)
	}
	if n := keys(t, db, w); n != 1 {
		t.Errorf("the live table has %d keys, want the one of before", n)
	}
}
