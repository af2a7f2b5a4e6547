package tenancy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// serving is a program with a further migration, that serves: its gate is in force.
func serving(t *testing.T, url, sql string) (*tenancy.Tenancy, *pg.DB, *buffer) {
	t.Helper()
	db, log := open(t, url, 8), &buffer{}
	d := directory(t, db, further(sql))
	d.Log = slog.New(slog.NewJSONHandler(log, nil))
	t.Cleanup(d.Close)
	db.SetGate(d.Admit)
	return d, db, log
}

func count(ctx context.Context, db *pg.DB, w pg.Workspace, table string) (n int, err error) {
	//sqlcheck:allow a table of the test
	err = db.Read(ctx, w, pg.Exec(`select count(*) from `+table).Scan(&n))
	return n, err
}

// The first touch of a workspace that is behind migrates it, once however many touch it, and it alone. What is known to be
// current costs no query.
func TestFirstTouchMigrates(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	old := directory(t, open(t, url, 4))
	touched, other := provision(t, old), provision(t, old)
	d, db, log := serving(t, url, "create table further (x int); grant select on further to :role; insert into further values (1)")
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if n, err := count(minute(t), db, touched, "further"); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(log.String(), "workspace migrated"); n != 1 {
		t.Errorf("migrated %d times: %s", n, log)
	}
	if n, err := d.Behind(minute(t)); err != nil || n != 1 {
		t.Errorf("%d behind, %v: the untouched one is", n, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Admit(gone, touched, nil); err != nil {
		t.Errorf("what is known asks the database: %v", err)
	}
	if err := d.Admit(gone, other, nil); err == nil {
		t.Error("what is not known does not ask the database")
	}
	if err := d.Admit(minute(t), pg.Workspace{ID: uuid.New()}, nil); err != nil {
		t.Errorf("a workspace that is not there is for Postgres to refuse: %v", err)
	}
}

// A workspace whose migration fails is not available, alone. The reason is logged once and kept for the status; mended, it is served
// without a restart.
func TestOneBadWorkspace(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	old := directory(t, open(t, url, 4))
	good, bad := provision(t, old), provision(t, old)
	admin := superuser(t, url)
	exec(t, admin, `create table `+bad.Schema()+`.further (x int)`)
	d, db, log := serving(t, url, "create table further (x int); grant select on further to :role")
	ctx, cancel := context.WithCancel(minute(t))
	var keeping sync.WaitGroup
	keeping.Go(func() {
		if err := d.KeepMigrating(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); keeping.Wait() })
	if _, err := count(ctx, db, good, "further"); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, err := count(ctx, db, bad, "further")
		lacking, is := errors.AsType[*tenancy.LackingError](err)
		if !is || lacking.Wait <= 0 || lacking.Why == nil || !strings.Contains(lacking.Error(), "_further.sql") {
			t.Fatalf("the bad one: %v", err)
		}
	}
	if n := strings.Count(log.String(), "could not be migrated"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
	s, err := old.Status(ctx)
	if err != nil || s.Failed != nil {
		t.Errorf("for the older program: %+v, %v", s, err)
	}
	s, err = d.Status(ctx)
	if err != nil || s.Behind != 1 || len(s.Failed) != 1 || !strings.Contains(s.Failed[0], "w-"+bad.ID.String()) || !strings.Contains(s.Failed[0], "already exists") {
		t.Errorf("%+v, %v", s, err)
	}
	exec(t, admin, `drop table `+bad.Schema()+`.further`)
	keeping.Wait() // it has nothing left to do
	if n, err := count(ctx, db, bad, "further"); err != nil || n != 0 {
		t.Errorf("mended: %d, %v", n, err)
	}
	if s, err := d.Status(ctx); err != nil || s.Behind != 0 || s.Failed != nil {
		t.Errorf("mended: %+v, %v", s, err)
	}
}

// A reason that is kept quotes no row.
func TestFailureQuotesNoRow(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	w := provision(t, directory(t, open(t, url, 4)))
	admin := superuser(t, url)
	owner := ask[string](t, admin, `select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'kluis'`)
	exec(t, admin, `create table `+w.Schema()+`.further (x text); insert into `+w.Schema()+`.further values ('Ada'), ('Ada');
		alter table `+w.Schema()+`.further owner to `+owner)
	for _, sql := range []string{`alter table further alter x type int using x::int`, `alter table further add unique (x)`} {
		d, _, _ := serving(t, url, sql)
		err := d.Migrate(minute(t), nil)
		s, failed := d.Status(minute(t))
		if err == nil || failed != nil || len(s.Failed) != 1 || strings.Contains(err.Error()+s.Failed[0], "Ada") || !strings.Contains(s.Failed[0], "SQLSTATE 2") {
			t.Errorf("%s: %v; %+v, %v", sql, err, s, failed)
		}
	}
}

// A migration behind a long read gives way, so that whoever queues behind it waits for seconds and not for the read, and is tried
// again until the read ends.
func TestMigrateBehindLongRead(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	old := directory(t, open(t, url, 4))
	w, other := provision(t, old), provision(t, old)
	reader := superuser(t, url)
	exec(t, reader, `begin; select * from `+w.Schema()+`.task`)
	d, db, _ := serving(t, url, "alter table task add column further int")
	start := time.Now()
	_, err := count(minute(t), db, w, "task")
	if _, is := errors.AsType[*tenancy.LackingError](err); !is || time.Since(start) > 5*time.Second {
		t.Errorf("a touch that waits for it: %v after %s", err, time.Since(start))
	}
	if _, err := count(minute(t), db, other, "task"); err != nil {
		t.Errorf("another workspace: %v", err)
	}
	beside := open(t, url, 2) // an older program, which reads all the while
	var longest atomic.Int64
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			begun := time.Now()
			if _, err := count(minute(t), beside, w, "task"); err != nil {
				t.Error(err)
			}
			longest.Store(max(longest.Load(), int64(time.Since(begun))))
		}
	})
	time.AfterFunc(4*time.Second, func() { exec(t, reader, `rollback`) })
	if err := d.KeepMigrating(minute(t)); err != nil {
		t.Error(err)
	}
	close(stop)
	reading.Wait()
	if n, err := d.Behind(minute(t)); err != nil || n != 0 {
		t.Errorf("%d behind, %v", n, err)
	}
	if waited := time.Duration(longest.Load()); waited > 4*time.Second {
		t.Errorf("a read behind the migration waited %s", waited)
	}
}

// A database that was put back under a living process lacks what the process has seen: the workspace is migrated again.
func TestDirectoryPutBack(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	w := provision(t, directory(t, open(t, url, 4)))
	d, db, _ := serving(t, url, "create table further (x int); grant select on further to :role")
	if _, err := count(minute(t), db, w, "further"); err != nil {
		t.Fatal(err)
	}
	exec(t, superuser(t, url), `drop table `+w.Schema()+`.further; update kluis.workspace set version = version - 1, hashes = trim_array(hashes, 1)`)
	if _, err := count(minute(t), db, w, "further"); err != nil && !isLacking(err) {
		t.Errorf("%v: it could be asked again", err)
	}
	if _, err := count(minute(t), db, w, "further"); err != nil {
		t.Errorf("again: %v", err)
	}
	_, err := count(minute(t), db, w, "nowhere")
	for isLacking(err) { // for a moment: the workspace gets its grants again, which might be what it lacks
		time.Sleep(100 * time.Millisecond)
		_, err = count(minute(t), db, w, "nowhere")
	}
	if !pg.Is(err, pg.UndefinedTable) {
		t.Errorf("a table that no migration makes: %v", err)
	}
	if n, err := d.Behind(minute(t)); err != nil || n != 0 {
		t.Errorf("%d behind, %v", n, err)
	}
}

func isLacking(err error) bool {
	_, is := errors.AsType[*tenancy.LackingError](err)
	return is
}

// A newer program has taken away what this one needs: that is said, and is no bug of this one.
func TestContracted(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 4)
	old := directory(t, db)
	w := provision(t, old)
	db.SetGate(old.Admit)
	if err := directory(t, open(t, url, 4), further("drop table comment")).Migrate(minute(t), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := count(minute(t), db, w, "task"); err != nil {
		t.Error(err)
	}
	if _, err := count(minute(t), db, w, "comment"); !errors.Is(err, tenancy.ErrNewer) {
		t.Errorf("%v, want that it was migrated by a newer kluis", err)
	}
}

// What somebody took from a workspace, or from all of them, is granted again at the first request that lacks it, and asked again that is answered. What
// no grant mends is its own error soon.
func TestGrantedAgain(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	provisioned := directory(t, open(t, url, 4))
	admin := superuser(t, url)
	group := ask[string](t, admin, `select 'kluis_workspace' || substr(nspowner::regrole::text, 12) from pg_namespace where nspname = 'kluis'`)
	for _, sql := range []string{
		"revoke select on WS.data_key from WS",
		"revoke usage on schema WS from WS",
		"revoke usage on schema kluis from GROUP",
		"revoke insert (position) on kluis.signal from GROUP",
	} {
		w := provision(t, provisioned)
		_, db, _ := serving(t, url, "select")
		use := func() error {
			var n int
			return db.Do(minute(t), w, pg.Exec(`select count(*) from data_key`).Scan(&n), pg.Exec(`insert into kluis.signal (position) values (1)`))
		}
		if err := use(); err != nil {
			t.Fatal(err)
		}
		exec(t, admin, strings.NewReplacer("WS", w.Schema(), "GROUP", group).Replace(sql))
		if err := use(); !errors.As(err, new(*tenancy.LackingError)) {
			t.Errorf("%s: %v", sql, err)
		}
		if err := use(); err != nil {
			t.Errorf("%s, asked again: %v", sql, err)
		}
		denied := pg.Exec(`select from kluis.workspace`)
		err := db.Do(minute(t), w, denied)
		for end := time.Now().Add(20 * time.Second); errors.As(err, new(*tenancy.LackingError)) && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
			err = db.Do(minute(t), w, denied)
		}
		if !pg.Is(err, pg.AccessDenied) {
			t.Errorf("what nobody granted: %v", err)
		}
	}
}

// A migration that fails for what it does is tried less and less often. One that the database cannot do at the moment is tried soon after it can.
func TestPause(t *testing.T) {
	t.Parallel()
	said := func(code string) error {
		return fmt.Errorf("migrate: %w", &pgconn.PgError{Code: code, SeverityUnlocalized: "ERROR"})
	}
	for _, c := range []struct {
		err     error
		longest time.Duration
	}{
		{errors.New("the file is wrong"), tenancy.LongestPause},
		{said(pg.UniqueViolation), tenancy.LongestPause},
		{said(pg.LockNotAvailable), tenancy.LongestPause},
		{said(pg.ReadOnly), tenancy.OutagePause},
		{said("53100"), tenancy.OutagePause},
		{said("57P03"), tenancy.OutagePause},
	} {
		if first, later := tenancy.Pause(c.err, 0), tenancy.Pause(c.err, 40); first != time.Second || later != c.longest {
			t.Errorf("%v: %s, and later %s, want %s", c.err, first, later, c.longest)
		}
	}
}
