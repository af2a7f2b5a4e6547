package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperRole) != "" {
		os.Exit(beOtherProgram(m))
	}
	Main(m)
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func perform(t testing.TB, url, sql string) {
	t.Helper()
	if err := execute(url, sql); err != nil {
		t.Fatal(err)
	}
}

func execute(url, sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func ask[T any](t testing.TB, url, sql string, args ...any) T {
	t.Helper()
	var answer T
	if err := connect(t, url).QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func database(t testing.TB, url string) string {
	return ask[string](t, url, `select current_database()::text`)
}

func TestDatabaseIsFreshAndOnesOwn(t *testing.T) {
	t.Parallel()
	var seen sync.Map
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			url := Database(t)
			if _, again := seen.LoadOrStore(url, true); again {
				t.Errorf("%s was given twice", url)
			}
			perform(t, url, `create schema s; create table s.t as select 1`)
			if got := ask[string](t, url, `select current_user::text`); got != "kluis" {
				t.Errorf("login is %s", got)
			}
			if !ask[bool](t, Superuser(t, url), `select rolsuper and current_database() = $1 from pg_roles where rolname = current_user`, database(t, url)) {
				t.Error("Superuser is none")
			}
			var refusal *pgconn.PgError
			if err := execute(url, `create table public.t (n int)`); !errors.As(err, &refusal) || refusal.Code != "42501" {
				t.Errorf("schema public is open: %v", err)
			}
		})
	}
}

func TestCloneIsPreparedOnce(t *testing.T) {
	t.Parallel()
	var prepared atomic.Int32
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			url := Clone(t, "counted", func(url string) error {
				prepared.Add(1)
				return execute(url, `create schema s; create table s.t as select 1 as n`)
			})
			perform(t, url, `insert into s.t values (2)`)
			if got := ask[int](t, url, `select count(*) from s.t`); got != 2 {
				t.Errorf("%d rows: not a clone of its own", got)
			}
			if prepared.Load() > 1 { // not at all, if the same program runs twice and the other was first
				t.Errorf("prepared %d times", prepared.Load())
			}
		})
	}
}

// fails stands in for a test that is to fail.
type fails struct {
	testing.TB
	said string
}

func (f *fails) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestFailedTemplate(t *testing.T) {
	t.Parallel()
	for range 2 { // the second does not try again
		f := &fails{TB: t}
		func() {
			defer func() { _ = recover() }()
			Clone(f, "broken", func(string) error { return errors.New("no such table") })
		}()
		if !strings.Contains(f.said, "no such table") || !strings.Contains(f.said, "broken") {
			t.Errorf("said %q", f.said)
		}
	}
}

func TestDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	var name string
	unique := rand.Text()
	onlyHere, shared := pgx.Identifier{"ws_here_" + unique}.Sanitize(), pgx.Identifier{"ws_shared_" + unique}.Sanitize()
	t.Run("inner", func(t *testing.T) {
		url := Database(t)
		name = database(t, url)
		perform(t, url, `create role `+onlyHere+`; create role `+shared+`; grant `+onlyHere+`, `+shared+` to kluis; create schema s;
			grant usage on schema s to `+onlyHere+`, `+shared)
		conn, err := pgx.Connect(context.Background(), url) // left open
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		perform(t, Database(t), `create schema s; grant usage on schema s to `+shared)
		if err := drop(t.Context(), program.hold.admin, name); err != nil { // as its end would, but before the other's
			t.Fatal(err)
		}
		if got := rolesLike(t, unique); !slices.Equal(got, []string{"ws_shared_" + unique}) {
			t.Errorf("with the second database still there, these roles are left: %v", got)
		}
	})
	if ask[bool](t, program.hold.admin, `select exists (select from pg_database where datname = $1)`, name) {
		t.Errorf("%s is still there", name)
	}
	if got := rolesLike(t, unique); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func rolesLike(t *testing.T, unique string) []string {
	t.Helper()
	rows, _ := connect(t, program.hold.admin).Query(t.Context(), `select rolname::text from pg_roles where rolname like '%' || $1`, unique)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func BenchmarkDatabase(b *testing.B) {
	join(b)
	for b.Loop() {
		url := Database(b)
		b.StopTimer()
		if err := drop(b.Context(), program.hold.admin, database(b, url)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkClone(b *testing.B) {
	prepare := func(url string) error {
		return execute(url, `create schema s; do $$ begin for i in 1..50 loop execute format('create table s.t%s (n int primary key, s text)', i); end loop; end $$`)
	}
	Clone(b, "benchmark", prepare)
	for b.Loop() {
		url := Clone(b, "benchmark", prepare)
		b.StopTimer()
		if err := drop(b.Context(), program.hold.admin, database(b, url)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
