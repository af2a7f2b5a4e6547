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

// Somebody changes the type of a column, so what connections have prepared is refused there. Each use goes on with other connections.
func TestChangedColumnIsReadElsewhere(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	admin := superuser(t, address)
	var found string
	read := pg.Exec(`select wrapped from data_key limit 1`).Scan(&found)
	write := pg.Exec(`insert into data_key (subject, wrapped) values (gen_random_uuid(), 'x') returning wrapped`).Scan(&found)
	uses := map[string]func() error{
		"Do":          func() error { return db.Do(t.Context(), w, write) },
		"Together":    func() error { return db.Together(t.Context(), w, write) },
		"Read":        func() error { return db.Read(t.Context(), w, read) },
		"Read, light": func() error { return db.Read(t.Context(), w, read.Light()) },
	}
	all := func(when string) {
		for name, use := range uses {
			for range 3 {
				if found = ""; use() != nil || found != "x" {
					t.Errorf("%s, %s: %q, %v", name, when, found, use())
				}
			}
		}
	}
	for _, columnType := range []string{"text", "varchar(100)", "text"} {
		all("before it is " + columnType)
		if _, err := admin.Exec(t.Context(), `alter table `+w.Schema()+`.data_key alter column wrapped type `+columnType); err != nil {
			t.Fatal(err)
		}
	}
	for try := 0; ; try++ {
		err := db.In(t.Context(), w, func(tx *pg.Tx) error { return tx.Run(t.Context(), read) })
		if err == nil {
			break
		}
		if outage, _ := pg.OutageOf(err); outage != pg.Busy || try > 10 {
			t.Fatalf("In: %v", err)
		}
	}
}
