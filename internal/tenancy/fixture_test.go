package tenancy_test

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newDatabase is a database of its own, migrated, without workspaces.
func newDatabase(t testing.TB) (url string) {
	t.Helper()
	return pgtest.Clone(t, "tenancy", func(url string) error {
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

// directory is the tenancy of a program with other migrations: the real ones, and more files.
func directory(t testing.TB, db *pg.DB, more ...fstest.MapFS) *tenancy.Tenancy {
	t.Helper()
	control, workspace := with(t, migrations.Control), with(t, migrations.Workspace)
	for _, files := range more {
		for name, file := range files {
			if name[0] == 'c' {
				control[name] = file
			} else {
				workspace[name] = file
			}
		}
	}
	d, err := tenancy.New(db, control, workspace)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func with(t testing.TB, line fs.FS) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(line, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(line, name)
		files[name] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// further is one more migration of workspaces, behind those there are.
func further(sql string) fstest.MapFS {
	names, _ := fs.Glob(migrations.Workspace, "workspace/*.sql")
	return fstest.MapFS{next("workspace/", len(names)): {Data: []byte(sql)}}
}

func next(folder string, n int) string {
	n++
	return folder + string([]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)}) + "_further.sql"
}

func noop(pgx.Tx) error { return nil }

func provision(t testing.TB, d *tenancy.Tenancy) pg.Workspace {
	t.Helper()
	w := pg.Workspace{ID: uuid.Must(uuid.NewV7())}
	if err := d.Provision(context.Background(), w.ID, "w-"+w.ID.String(), "be", noop, noop); err != nil {
		t.Fatal(err)
	}
	return w
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

func exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) (answer T) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func minute(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// parts is what a workspace consists of, as the superuser sees it.
type parts struct {
	Row, Role, Schema bool
	Tables            int
}

func partsOf(t testing.TB, admin *pgx.Conn, w pg.Workspace) (p parts) {
	t.Helper()
	err := admin.QueryRow(context.Background(), `select exists (select from kluis.workspace where id = $1),
		exists (select from pg_roles where rolname = $2), exists (select from pg_namespace where nspname = $2),
		(select count(*) from pg_tables where schemaname = $2)`, w.ID, w.Schema()).Scan(&p.Row, &p.Role, &p.Schema, &p.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
