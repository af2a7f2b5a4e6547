package pg_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// putAnother puts an empty database in the place of one.
func putAnother(t *testing.T, url string) {
	t.Helper()
	config, err := pgx.ParseConfig(pgtest.Superuser(t, url))
	if err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{config.Database}.Sanitize()
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, sql := range []string{`drop database ` + name + ` with (force)`, `create database ` + name + ` template template0`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// A transaction that passed the gate before the database became another one, and has its connection afterwards, passes the gate again
// before it begins: alone, as a light read, and together with others.
func TestAnotherDatabase(t *testing.T) {
	t.Parallel()
	one := pg.Exec(`select 1`)
	for name, do := range map[string]func(*pg.DB, pg.Workspace) error{
		"a change":     func(db *pg.DB, w pg.Workspace) error { return db.Do(t.Context(), w, one) },
		"a read":       func(db *pg.DB, w pg.Workspace) error { return db.Read(t.Context(), w, one) },
		"a light read": func(db *pg.DB, w pg.Workspace) error { return db.Read(t.Context(), w, one.Light()) },
		"together":     func(db *pg.DB, w pg.Workspace) error { return db.Together(t.Context(), w, one) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var url string
			c := newCrowd(t, 2, func(address string) string { url = address; return address })
			var mu sync.Mutex
			passed, swapped := map[pg.Workspace][]int64{}, make(chan struct{})
			c.db.SetGate(func(_ context.Context, w pg.Workspace, _ error) error {
				mu.Lock()
				defer mu.Unlock()
				if passed[w] = append(passed[w], c.db.Incarnation()); len(passed[w]) > 1 {
					return nil
				}
				if len(passed) == len(c.all) {
					putAnother(t, url)
					close(swapped)
				}
				mu.Unlock()
				<-swapped
				mu.Lock()
				return nil
			})
			waiting, release := c.db.Lead(c.all[0])
			var calls sync.WaitGroup
			for _, w := range c.all {
				calls.Go(func() {
					if err := do(c.db, w); err != nil {
						t.Error(err)
					}
				})
			}
			until(func() bool { return name != "together" || waiting() == len(c.all) })
			release()
			calls.Wait()
			if c.db.Incarnation() == 0 {
				t.Error("that it is another database was not noticed")
			}
			for w, in := range passed {
				if last := in[len(in)-1]; last != c.db.Incarnation() {
					t.Errorf("workspace %s passed the gate in %v, and began in %d", w.ID, in, c.db.Incarnation())
				}
			}
		})
	}
}

// Through a pooler, whose connections stay, it is noticed as well.
func TestAnotherDatabaseBehindAPooler(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, pgtest.Bouncer(t, url, 4), 4)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	changed := db.Changed()
	go db.Watch(ctx)
	putAnother(t, url)
	<-changed
}
