package pg_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A process of Postgres that is out of date refuses a role that its login has since been granted: what it refuses is done on another one. Here it
// refuses while the grant is on its way, and looks the membership up when it is there.
func TestRefusedIsDoneElsewhere(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	admin := superuser(t, address)
	for name, do := range map[string]func() error{
		"Do":          func() error { return db.Do(t.Context(), w, pg.Exec(`delete from credential`)) },
		"Together":    func() error { return db.Together(t.Context(), w, pg.Exec(`delete from credential`)) },
		"Read":        func() error { return db.Read(t.Context(), w, pg.Exec(`select from credential`)) },
		"a light one": func() error { return db.Read(t.Context(), w, pg.Exec(`select from credential`).Light()) },
		"In": func() error {
			return db.In(t.Context(), w, func(tx *pg.Tx) error { return tx.Run(t.Context(), pg.Exec(`select from credential`)) })
		},
	} {
		// Another test may change a membership at that moment. Then the process lists the roles anew, and refuses nothing.
		for try := 0; try < 20 && !refusesAndGoesOn(t, db, w, admin, name, do); try++ {
			if try == 19 {
				t.Errorf("%s: the connection that refused is still there", name)
			}
		}
	}
}

// refusesAndGoesOn takes the role of a workspace from the login, and has do wait for the table of memberships while it is granted anew. It tells
// whether a connection was closed.
func refusesAndGoesOn(t *testing.T, db *pg.DB, w pg.Workspace, admin *pgx.Conn, name string, do func() error) bool {
	t.Helper()
	role, login := w.Schema(), db.Login()
	if _, err := admin.Exec(t.Context(), `revoke `+role+` from `+login); err != nil {
		t.Fatal(err)
	}
	if outage, _ := pg.OutageOf(do()); outage != pg.Closed {
		t.Errorf("%s: a workspace that nobody may enter is open", name)
	}
	before := backends(t, db, w)
	grant, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grant.Exec(t.Context(), `lock table pg_auth_members in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	for waits := false; !waits; {
		if err := grant.QueryRow(t.Context(), `select exists (select from pg_locks where relation = 'pg_auth_members'::regclass and pid = any($1) and not granted)`, before).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := grant.Exec(t.Context(), `grant `+role+` to `+login); err != nil {
		t.Fatal(err)
	}
	if err := grant.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return !slices.Equal(backends(t, db, w), before)
}

// A workspace that is closed is refused everywhere, and no connection is closed for it.
func TestClosedStaysClosed(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	db := open(t, address, 2)
	w := newWorkspace(t, db)
	before := backends(t, db, w)
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
	if now := backends(t, db, w); !slices.Equal(now, before) {
		t.Errorf("the connections were %d, and are %d", before, now)
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
