package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// prefix begins the name of every database of ours.
const prefix = "kluis_test_"

// patience bounds each thing that is asked of the server; a test run has many at once.
const patience = time.Minute

// program is this test program's part in the shared server. Main owns it; it joins with the first database.
var program struct {
	sync.Mutex
	inMain bool
	hold   *claim
	err    error
}

// Main is for TestMain: it runs the tests, gives the shared server up, and exits.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("GOGC") == "" { // the collector took a quarter of the processor time of tests, for heaps that are small
		debug.SetGCPercent(400)
	}
	program.Lock()
	program.inMain = true
	program.Unlock()
	code := m.Run()
	program.Lock()
	defer program.Unlock()
	if program.hold == nil {
		return code
	}
	if err := program.hold.leave(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// Database makes an empty database and returns its URL for the login kluis. It is dropped when the test ends.
func Database(t testing.TB) string {
	t.Helper()
	h := join(t)
	return h.give(t, func(ctx context.Context, name string) error {
		return pgserver.CreateDatabase(ctx, h.admin, name, pgserver.Login)
	})
}

// Clone makes a database with what prepare put into the template of that name, and returns its URL for the login
// kluis. It is dropped when the test ends. prepare gets the URL of the template for the same login and runs once for
// each build of the test program, however many tests and processes ask at once.
func Clone(t testing.TB, template string, prepare func(url string) error) string {
	t.Helper()
	h := join(t)
	from, err := h.template(template, prepare)
	if err != nil {
		t.Fatalf("pgtest: template %s: %v", template, err)
	}
	return h.give(t, func(ctx context.Context, name string) error {
		return pgserver.CloneDatabase(ctx, h.admin, name, from, pgserver.Login)
	})
}

// Superuser returns the URL of the same database for the superuser, for what the application may not do.
func Superuser(t testing.TB, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	same, err := pgserver.WithDatabase(join(t).admin, config.Database)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return same
}

// join returns the program's hold on the shared server, which it takes when there is none.
func join(t testing.TB) *claim {
	t.Helper()
	program.Lock()
	defer program.Unlock()
	if !program.inMain {
		t.Fatal("pgtest: the package needs `func TestMain(m *testing.M) { pgtest.Main(m) }`, which stops the server at the end")
	}
	if program.hold == nil && program.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		program.hold, program.err = newClaim(ctx)
	}
	if program.err != nil {
		t.Fatalf("pgtest: %v", program.err)
	}
	return program.hold
}

// give makes a database and sees to its end.
func (h *claim) give(t testing.TB, create func(ctx context.Context, name string) error) string {
	t.Helper()
	name := h.name()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := drop(ctx, h.admin, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if err := create(ctx, name); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	url, err := h.login(name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return url
}

// leave drops what is only ours and gives the server up.
func (h *claim) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := errors.Join(h.release(ctx), h.conn.Close(ctx))
	if h.server != nil {
		err = errors.Join(err, h.server.Stop(ctx))
	}
	return err
}
