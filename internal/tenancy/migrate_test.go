package tenancy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

// Several processes may meet an empty database at once.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		url := pgtest.Database(t)
		var wg sync.WaitGroup
		for range 4 {
			d := directory(t, open(t, url, 4))
			wg.Go(func() {
				if err := d.Migrate(minute(t), nil); err != nil {
					t.Error(err)
					return
				}
				provision(t, d)
			})
		}
		wg.Wait()
		d := directory(t, open(t, url, 4))
		s, err := d.Status(minute(t))
		if err != nil || s.Workspaces != 4 || s.Behind != 0 || s.Control != s.ControlAll || s.ControlAll == 0 {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// Of a database that was never migrated, the status says so.
func TestStatusOfEmptyDatabase(t *testing.T) {
	t.Parallel()
	s, err := directory(t, open(t, pgtest.Database(t), 2)).Status(minute(t))
	if err != nil || s.Control != 0 || s.Workspaces != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// commits is how many transactions a Migrate with nothing to do costs; its backends have ended, which settles the count.
func commits(t testing.TB, url string) int64 {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := pgserver.WithDatabase(pgtest.Superuser(t, url), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(minute(t), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	settled := func() int64 {
		for ask[bool](t, admin, `select exists (select from pg_stat_activity where datname = $1)`, config.Database) {
			time.Sleep(5 * time.Millisecond)
		}
		return ask[int64](t, admin, `select xact_commit from pg_stat_database where datname = $1`, config.Database)
	}
	before := settled()
	db, err := pg.Open(minute(t), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	err = directory(t, db).Migrate(minute(t), func(int, int) { t.Error("something was migrated") })
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	return settled() - before
}

func TestMigrateWithNothingToDo(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	add := func(n int) {
		db, err := pg.Open(minute(t), url, 2)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			provision(t, directory(t, db))
		}
		db.Close()
	}
	least := func() int64 { // autovacuum may pass by, and commits for each table that it looks at
		return min(commits(t, url), commits(t, url), commits(t, url))
	}
	add(2)
	few := least()
	add(30)
	many := least()
	t.Logf("%d transactions with 2 workspaces, %d with 32", few, many)
	if many > few+1 || many > 15 {
		t.Errorf("%d transactions with 2 workspaces, %d with 32", few, many)
	}
}

// A program with one more migration gives it to every workspace, once, and new ones are born with it.
func TestMigrateWorkspaces(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 8)
	old := directory(t, db)
	var workspaces []pg.Workspace
	for range 6 {
		workspaces = append(workspaces, provision(t, old))
	}
	more := further("create table further (login text default current_user); grant select, insert on further to :role; insert into further default values")
	processes := []*tenancy.Tenancy{directory(t, db, more), directory(t, open(t, url, 8), more)}
	if n, err := processes[0].Behind(minute(t)); err != nil || n != 6 {
		t.Errorf("%d workspaces behind, %v", n, err)
	}
	var wg sync.WaitGroup
	for _, d := range processes {
		wg.Go(func() {
			if err := d.Migrate(minute(t), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	workspaces = append(workspaces, provision(t, processes[0]))
	for _, w := range workspaces {
		var rows []string
		if err := db.Read(minute(t), w, pg.Column(&rows, `select login from further`)); err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0], "kluis_owner") {
			t.Errorf("%s: %v, %v", w.ID, rows, err)
		}
	}
	if err := processes[1].Migrate(minute(t), func(int, int) { t.Error("again") }); err != nil {
		t.Error(err)
	}
}

// A migration that fails in one workspace leaves the others with it, and can be run again.
func TestMigrateFails(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 8)
	old := directory(t, db)
	var workspaces []pg.Workspace
	for range 12 {
		workspaces = append(workspaces, provision(t, old))
	}
	bad := workspaces[1]
	admin := superuser(t, url)
	exec(t, admin, `create table `+bad.Schema()+`.in_the_way (x int)`)
	d := directory(t, db, further("create table further (x int); grant select on further to :role; create table in_the_way (x int)"))
	var reported atomic.Int64 // progress may be told from several goroutines
	err := d.Migrate(minute(t), func(done, all int) { reported.Add(1) })
	if err == nil || !strings.Contains(err.Error(), bad.ID.String()) || !strings.Contains(err.Error(), "_further.sql") {
		t.Errorf("%v: it names neither workspace nor file", err)
	}
	has := func(w pg.Workspace) bool {
		var n int
		err := db.Read(minute(t), w, pg.Exec(`select count(*) from further`).Scan(&n))
		if err != nil && !pg.Is(err, pg.UndefinedTable) {
			t.Error(err)
		}
		return err == nil
	}
	for i, w := range workspaces {
		if has(w) == (w == bad) {
			t.Errorf("workspace %d: has it: %v", i, has(w))
		}
	}
	if n, err := d.Behind(minute(t)); err != nil || n != 1 || reported.Load() != 11 {
		t.Errorf("%d workspaces behind, %v; %d reported", n, err, reported.Load())
	}
	exec(t, admin, `drop table `+bad.Schema()+`.in_the_way`)
	if err := d.Migrate(minute(t), nil); err != nil || !has(bad) {
		t.Errorf("again, mended: %v", err)
	}
}

// A schema that was put back alone says which migrations it has, whatever the directory says of it, and gets the others.
func TestPutBack(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 4), superuser(t, url)
	old := directory(t, db)
	w := provision(t, old)
	named := func() tenancy.Entry {
		entries, err := old.Every(minute(t), w.ID)
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		return entries[0]
	}
	comment := func() string {
		return ask[string](t, admin, `select obj_description($1::regnamespace, 'pg_namespace')`, w.Schema())
	}
	before := comment()
	d := directory(t, db, further("create table further (x int); grant select on further to :role"))
	if err := d.Migrate(minute(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := old.PutBack(minute(t), named()); !errors.Is(err, tenancy.ErrNewer) {
		t.Errorf("a schema of a newer program: %v", err)
	}
	exec(t, admin, `drop table `+w.Schema()+`.further; comment on schema `+w.Schema()+` is '`+before+`'`) // as a dump of before has it
	if err := d.PutBack(minute(t), named()); err != nil {
		t.Fatal(err)
	}
	if e := named(); e.Version != old.Newest() {
		t.Errorf("version %d, want %d", e.Version, old.Newest())
	}
	if err := d.Migrate(minute(t), nil); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.Read(minute(t), w, pg.Exec(`select count(*) from further`).Scan(&n)); err != nil {
		t.Error(err)
	}
	if comment() == before {
		t.Error("the schema does not say that it was migrated")
	}
	if err := d.PutBack(minute(t), named()); err != nil || named().Version != d.Newest() {
		t.Errorf("a schema that lacks nothing: %v, version %d", err, named().Version)
	}
	exec(t, admin, `drop schema `+w.Schema()+` cascade`)
	if err := d.PutBack(minute(t), named()); err == nil {
		t.Error("a schema that is not there was taken for one")
	}
}

// Broken off, each workspace has all of a migration or nothing, and the next run does the rest.
func TestMigrateBrokenOff(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 8), superuser(t, url)
	old := directory(t, db)
	var workspaces []pg.Workspace
	for range 20 {
		workspaces = append(workspaces, provision(t, old))
	}
	d := directory(t, db, further("create table further (x int); select pg_sleep(0.02); create table further_still (x int)"))
	ctx, cancel := context.WithCancel(minute(t))
	err := d.Migrate(ctx, func(done, _ int) {
		if done == 5 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %v", err)
	}
	check := func() (done int) {
		for _, w := range workspaces {
			p := partsOf(t, admin, w)
			tables := ask[int](t, admin, `select count(*) from pg_tables where schemaname = $1 and tablename in ('further', 'further_still')`, w.Schema())
			newest := ask[bool](t, admin, `select version = (select max(version) from kluis.workspace) from kluis.workspace where id = $1`, w.ID)
			if !p.Row || tables != 0 && tables != 2 || newest != (tables == 2) {
				t.Errorf("%s: %+v, %d tables of the migration, newest: %v", w.ID, p, tables, newest)
			}
			done += tables / 2
		}
		return done
	}
	if n := check(); n < 5 || n == 20 {
		t.Errorf("broken off after 5, and %d of 20 are done", n)
	}
	if err := d.Migrate(minute(t), nil); err != nil || check() != 20 {
		t.Errorf("the rest: %v", err)
	}
}

// What a newer program has migrated, this one leaves as it is, and serves. It makes no workspace, which would be older.
func TestMigrateLeavesNewer(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"control/", "workspace/"} {
		url := newDatabase(t)
		db := open(t, url, 4)
		older := directory(t, db)
		w := provision(t, older)
		line := migrations.Control
		if folder == "workspace/" {
			line = migrations.Workspace
		}
		newer := directory(t, db, fstest.MapFS{next(folder, len(with(t, line))): {Data: []byte("create table further (x int)")}})
		if err := newer.Migrate(minute(t), nil); err != nil {
			t.Fatal(err)
		}
		if err := older.Migrate(minute(t), func(int, int) { t.Error("something was migrated") }); err != nil {
			t.Errorf("a newer %s line: %v", folder, err)
		}
		if err := older.Serves(minute(t)); err != nil {
			t.Errorf("a newer %s line: not served: %v", folder, err)
		}
		if err := older.Admit(minute(t), w, nil); err != nil {
			t.Errorf("a newer %s line: the workspace is not served: %v", folder, err)
		}
		s, err := older.Status(minute(t))
		if err != nil || s.Behind != 0 || s.Foreign != 0 || (s.Newer == 1) != (folder == "workspace/") || (s.Control > s.ControlAll) != (folder == "control/") {
			t.Errorf("a newer %s line: %+v, %v", folder, s, err)
		}
		id := uuid.Must(uuid.NewV7())
		err = older.Provision(minute(t), id, "w-"+id.String(), "be", noop, noop)
		if errors.Is(err, tenancy.ErrNewer) != (folder == "workspace/") {
			t.Errorf("a newer %s line: provision: %v", folder, err)
		}
		provision(t, newer)
	}
}

// A program refuses what another line of migrations made, and data from before migrations were remembered, and changes
// nothing of it. Wherever the other file stands in the line, none of its numbers tells.
func TestMigrateRefusesForeign(t *testing.T) {
	t.Parallel()
	first := func(folder string) fstest.MapFS {
		name := folder + "001_" + map[string]string{"control/": "directory", "workspace/": "log"}[folder] + ".sql"
		line := with(t, map[string]fs.FS{"control/": migrations.Control, "workspace/": migrations.Workspace}[folder])
		return fstest.MapFS{name: {Data: append(line[name].Data, "\ncreate table further (x int);"...)}}
	}
	for name, c := range map[string]struct {
		with         fstest.MapFS // what the other program has elsewhere
		sql          string       // what else is other about the database
		inWorkspaces bool
	}{
		"another first file of the control schema": {with: first("control/")},
		"another first file of workspaces":         {with: first("workspace/"), inWorkspaces: true},
		"another file further on":                  {with: further("create table further (x int)"), inWorkspaces: true},
		"no hash of the control schema":            {sql: `alter table kluis.migration drop column hashes`},
		"no hashes at all":                         {sql: `alter table kluis.migration drop column hashes; alter table kluis.workspace drop column hashes`},
	} {
		url := pgtest.Database(t)
		db, admin := open(t, url, 4), superuser(t, url)
		theirs := directory(t, db, c.with)
		if err := theirs.Migrate(minute(t), nil); err != nil {
			t.Fatal(err)
		}
		w := provision(t, theirs)
		if c.sql != "" {
			exec(t, admin, c.sql)
		}
		tables := partsOf(t, admin, w).Tables
		ours := directory(t, db, further("create table another (x int)"))
		status, err := ours.Status(minute(t))
		if c.inWorkspaces && (err != nil || status.Foreign != 1 || status.Workspaces != 1) || !c.inWorkspaces && !errors.Is(err, tenancy.ErrForeign) {
			t.Errorf("%s: status %+v, %v", name, status, err)
		}
		if err := ours.Migrate(minute(t), nil); !errors.Is(err, tenancy.ErrForeign) || c.inWorkspaces && !strings.Contains(err.Error(), w.ID.String()) {
			t.Errorf("%s: migrate: %v", name, err)
		}
		if now := partsOf(t, admin, w).Tables; now != tables {
			t.Errorf("%s: %d tables, %d before", name, now, tables)
		}
	}
}

// Lines of migrations are numbered without gaps.
func TestReadLine(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 1)
	empty := &fstest.MapFile{}
	for _, bad := range []fstest.MapFS{
		{"control/001_a.sql": empty, "control/003_b.sql": empty},
		{"control/002_a.sql": empty},
		{"control/001_a.sql": empty, "control/001_b.sql": empty},
		{"control/a.sql": empty},
		{"control/000_a.sql": empty},
	} {
		if _, err := tenancy.New(db, bad, migrations.Workspace); err == nil {
			t.Errorf("%v is accepted", sortedKeys(bad))
		}
	}
}

// A login that could do more than its part, or less, is refused with what to do about it.
func TestRefusesLogin(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	admin := superuser(t, url)
	check := func(name, address, want string) {
		t.Helper()
		db, err := pg.Open(minute(t), address, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = directory(t, db).Migrate(minute(t), nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "CREATE ROLE") {
			t.Errorf("%s: %v, want %q and how to make another", name, err, want)
		}
	}
	check("the superuser", pgtest.Superuser(t, url), "superuser")
	database := ask[string](t, admin, `select current_database()`)
	for i, c := range []struct{ options, want string }{
		{"nosuperuser createrole inherit", "NOINHERIT"},
		{"nosuperuser nocreaterole noinherit", "CREATEROLE"},
		{"nosuperuser createrole noinherit bypassrls", "superuser"},
		{"superuser noinherit", "superuser"},
	} {
		role := fmt.Sprintf("kluis_refused_%s_%d", database, i)
		exec(t, admin, fmt.Sprintf("create role %s login password 'secret' %s; grant connect on database %s to %s", role, c.options, database, role))
		t.Cleanup(func() {
			admin := superuser(t, url)
			exec(t, admin, fmt.Sprintf("drop owned by %s; drop role %s", role, role))
		})
		config, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		address := strings.Replace(url, "kluis:"+config.Password+"@", role+":secret@", 1)
		check(c.options, address, c.want)
	}
}
