package pg_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// Behind PgBouncer in transaction mode, all workers of two workspaces share one connection to the server, and a third
// of their transactions fail in one way or another. Nobody ever sees, or writes, a row of the other.
// The URL is a plain one: Open finds out what is at the other end.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	direct := newDatabase(t)
	setup := open(t, direct, 2)
	workspaces := []pg.Workspace{newWorkspace(t, setup), newWorkspace(t, setup)}
	db := open(t, pgtest.Bouncer(t, direct, 1), 16)
	var stored [2]atomic.Int64
	var failed, done atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for round := range 90 {
				own := (worker + round) % 2
				good, err := oneOf(db, workspaces[own], worker*60+round)
				switch {
				case err != nil:
					t.Errorf("worker %d, round %d: %v", worker, round, err)
					return
				case good:
					stored[own].Add(1)
					done.Add(1)
				default:
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i, w := range workspaces {
		if n, want := keys(t, setup, w), 1+int(stored[i].Load()); n != want {
			t.Errorf("workspace %d has %d keys, want %d", i, n, want)
		}
	}
	if failed.Load() < done.Load()/3 {
		t.Errorf("%d done, only %d failed", done.Load(), failed.Load())
	}
	admin := superuser(t, direct)
	var backends int
	if err := admin.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database()
		and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&backends); err != nil {
		t.Fatal(err)
	}
	if backends > 1+2+3 { // PgBouncer's one and those of setup, in its pool and its lane
		t.Errorf("%d connections: PgBouncer did not pool", backends)
	}
}

// oneOf does one of several kinds of transaction, of which a third fail, and checks whose rows it sees. good: it has
// stored one key.
func oneOf(db *pg.DB, w pg.Workspace, kind int) (good bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var id uuid.UUID
	check := func(err error) error {
		if err == nil && id != w.ID {
			err = fmt.Errorf("workspace %s sees the row of %s", w.ID, id)
		}
		return err
	}
	insert := func() pg.Statement { return insertKey(uuid.Must(uuid.NewV7())) }
	switch kind % 9 {
	case 0:
		return true, check(db.Do(ctx, w, owner(&id), insert()))
	case 1:
		return true, check(db.Together(ctx, w, owner(&id), insert()))
	case 2:
		return true, check(db.In(ctx, w, func(tx *pg.Tx) error {
			if err := check(tx.Run(ctx, owner(&id))); err != nil {
				return err
			}
			return tx.Commit(ctx, insert(), owner(&id))
		}))
	case 3, 4:
		return false, check(db.Read(ctx, w, owner(&id)))
	case 5:
		if err := db.Do(ctx, w, owner(&id), insert(), insertKey(w.ID)); !pg.Is(err, pg.UniqueViolation) {
			return false, fmt.Errorf("a duplicate key: %w", err)
		}
		return false, check(nil)
	case 6:
		err := db.In(ctx, w, func(tx *pg.Tx) error { return errors.Join(check(tx.Run(ctx, owner(&id), insert())), errOurs) })
		if !errors.Is(err, errOurs) {
			return false, fmt.Errorf("an error of ours: %w", err)
		}
		return false, check(nil)
	case 7:
		short, cancel := context.WithTimeout(ctx, time.Duration(1+kind%5)*time.Millisecond)
		defer cancel()
		err := db.Do(short, w, owner(&id), pg.Exec(`select pg_sleep(0.02)`))
		if err == nil {
			return false, errors.New("no error although it was cancelled")
		}
		return false, nil
	default:
		if err := db.Do(ctx, w, pg.Exec(`select no_such_column from data_key`)); !pg.Is(err, "42703") {
			return false, fmt.Errorf("a broken statement: %w", err)
		}
		return false, nil
	}
}
