package pg_test

import (
	"context"
	"slices"
	"testing"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A connection may not know of a workspace that was just made. What it refuses is done on another one: here Postgres takes the role from the
// first that is refused on.
func TestRefusedIsDoneElsewhere(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	admin := superuser(t, address)
	role, login := w.Schema(), db.Login()
	db.SetGate(func(ctx context.Context, _ pg.Workspace, lacks error) error {
		if lacks == nil {
			return nil
		}
		_, err := admin.Exec(ctx, `grant `+role+` to `+login)
		return err
	})
	for name, do := range map[string]func() error{
		"Do":   func() error { return db.Do(t.Context(), w, pg.Exec(`delete from credential`)) },
		"Read": func() error { return db.Read(t.Context(), w, pg.Exec(`select from credential`)) },
	} {
		before := backends(t, db, w)
		if _, err := admin.Exec(t.Context(), `revoke `+role+` from `+login); err != nil {
			t.Fatal(err)
		}
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if slices.Equal(backends(t, db, w), before) {
			t.Errorf("%s: the connection that refused is still there", name)
		}
	}
}

// A workspace that is closed is refused everywhere, and at last without closing a connection.
func TestClosedStaysClosed(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	if _, err := superuser(t, address).Exec(t.Context(), `revoke `+w.Schema()+` from `+db.Login()); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var n int
		err := db.Read(t.Context(), w, countKeys(&n).Light())
		if outage, _ := pg.OutageOf(err); outage != pg.Closed {
			t.Fatalf("a closed workspace: %v", err)
		}
	}
}
