package limit

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func newDatabase(t testing.TB) string {
	t.Helper()
	return pgtest.Clone(t, "limit", func(url string) error {
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

func newRing(t testing.TB) *keyring.Keyring {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(file); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Load(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// open is one process's limits.
func open(t testing.TB, url string, ring *keyring.Keyring, rules Rules) *Limits {
	t.Helper()
	db, err := pg.Open(t.Context(), url, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	l, err := Open(t.Context(), db, ring, rules, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newLimits(t testing.TB, rules Rules) *Limits {
	t.Helper()
	return open(t, newDatabase(t), newRing(t), rules)
}

// exceeded gives the wait when the limit of that name was reached; negative when it was not.
func exceeded(t testing.TB, err error, name string) time.Duration {
	t.Helper()
	if err == nil {
		return -1
	}
	e, ok := errors.AsType[*ExceededError](err)
	if !ok || e.Name != name {
		t.Fatalf("%v, want that %s is exceeded", err, name)
	}
	return e.Wait
}
