package pg_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newDatabase is a migrated database of its own.
func newDatabase(t testing.TB) (url string) {
	t.Helper()
	return pgtest.Clone(t, "pg", func(url string) error {
		db, err := pg.Open(context.Background(), url, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
		if err != nil {
			return err
		}
		return directory.Migrate(context.Background(), nil)
	})
}

func open(t testing.TB, url string, conns int32) *pg.DB {
	t.Helper()
	db, err := pg.Open(context.Background(), url, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// newWorkspace makes a workspace with one key in data_key, its own id: a row by which to know whose rows one sees.
func newWorkspace(t testing.TB, db *pg.DB) pg.Workspace {
	t.Helper()
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(pgx.Tx) error { return nil }
	w := pg.Workspace{ID: uuid.Must(uuid.NewV7())}
	if err := directory.Provision(context.Background(), w.ID, "w-"+w.ID.String(), "be", nothing, nothing); err != nil {
		t.Fatal(err)
	}
	if err := db.Do(context.Background(), w, insertKey(w.ID)); err != nil {
		t.Fatal(err)
	}
	return w
}

func insertKey(subject uuid.UUID) pg.Statement {
	return pg.Exec(`insert into data_key (subject, wrapped) values ($1, 'x')`, subject)
}

// owner is the statement that tells whose rows one sees: the id that newWorkspace stored.
func owner(into *uuid.UUID) pg.Statement {
	return pg.Exec(`select subject from data_key order by subject limit 1`).Scan(into)
}

func countKeys(into *int) pg.Statement { return pg.Exec(`select count(*) from data_key`).Scan(into) }

func keys(t testing.TB, db *pg.DB, w pg.Workspace) (n int) {
	t.Helper()
	if err := db.Read(context.Background(), w, countKeys(&n)); err != nil {
		t.Fatal(err)
	}
	return n
}

// settings are what a workspace's transaction sets, as a bare statement on a connection sees them.
type settings struct{ role, path, plan, lock string }

// settingsOf are those of one connection of each pool.
func settingsOf(t testing.TB, pools []*pgxpool.Pool) (all []settings) {
	t.Helper()
	for _, pool := range pools {
		var s settings
		if err := pool.QueryRow(context.Background(), `select current_setting('role'), current_setting('search_path'), current_setting('plan_cache_mode'),
			current_setting('lock_timeout')`).Scan(&s.role, &s.path, &s.plan, &s.lock); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// clean tells that nothing of a workspace is in any of them.
func clean(all []settings) bool {
	return !slices.ContainsFunc(all, func(s settings) bool { return s.role != "none" || strings.Contains(s.path, "ws_") || s.lock != "5s" })
}

// backends are the process ids of the connections of a workspace's lane.
func backends(t testing.TB, db *pg.DB, w pg.Workspace) (pids []int) {
	t.Helper()
	for _, pool := range db.Lane(w) {
		var pid int
		if err := pool.QueryRow(context.Background(), `select pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func superuser(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

var errOurs = errors.New("ours")
