package pg_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Each use of a workspace keeps to a connection of its own in the lane while that is free, so that a statement is prepared on one of them.
func TestSeatOfEachUse(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, open(t, address, 2))
	ctx := within(t, time.Minute)
	var n int
	for range 5 {
		if err := errors.Join(
			db.Read(ctx, w, pg.Exec(`select count(*) as reads from data_key`).Scan(&n)),
			db.Do(ctx, w, pg.Exec(`select count(*) as writes from data_key`).Scan(&n)),
			db.In(ctx, w, func(tx *pg.Tx) error {
				return tx.Run(ctx, pg.Exec(`set local lock_timeout = '1s'`), pg.Exec(`select count(*) as work from data_key`).Scan(&n))
			})); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"reads", "writes", "work"}
	for i, pool := range db.Lane(w) {
		rows, _ := pool.Query(ctx, `select substring(statement from ' as (\w+)') from pg_prepared_statements where name like $1`, w.Schema()+"%")
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || !slices.Equal(found, want[i:i+1]) {
			t.Errorf("prepared for %s: %q, %v", want[i], found, err)
		}
	}
}

// What finds its connection taken for longer than a moment has another one, and one that was broken is closed before it is offered.
func TestSeatIsTaken(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w, neighbour := newWorkspace(t, db), newWorkspace(t, db)
	ctx := within(t, time.Minute)
	if err := db.In(ctx, w, func(tx *pg.Tx) error {
		if err := tx.Run(ctx, insertKey(uuid.New())); err != nil {
			return err
		}
		for range 3 {
			if err := db.In(ctx, neighbour, func(tx *pg.Tx) error { return tx.Commit(ctx, insertKey(uuid.New())) }); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, db, neighbour); n != 4 {
		t.Errorf("%d keys", n)
	}
	for range 20 {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if err := db.Do(short, w, pg.Exec(`select pg_sleep(5)`)); err == nil {
			t.Error("it was not broken off")
		}
		cancel()
		if err := db.Do(ctx, w, insertKey(uuid.New())); err != nil {
			t.Errorf("behind a connection that was broken off: %v", err)
		}
	}
}
