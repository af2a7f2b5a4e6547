package vault

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fixture is a vault on a database with two workspaces.
type fixture struct {
	*Vault
	url  string
	a, b pg.Workspace
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{url: pgtest.Clone(t, "vault", func(url string) error {
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
	})}
	db, err := pg.Open(t.Context(), f.url, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	f.Vault = New(db, newKeyring(t))
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(pgx.Tx) error { return nil }
	for _, w := range []*pg.Workspace{&f.a, &f.b} {
		w.ID = uuid.Must(uuid.NewV7())
		if err := directory.Provision(t.Context(), w.ID, "w-"+w.ID.String(), "be", nothing, nothing); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func newKeyring(t *testing.T) *keyring.Keyring {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(file); err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Load(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// subject makes a data key in a workspace.
func (f *fixture) subject(t *testing.T, w pg.Workspace, id uuid.UUID) Key {
	t.Helper()
	key, insert, err := f.NewKey(w, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.db.Do(t.Context(), w, insert); err != nil {
		t.Fatal(err)
	}
	return key
}

func (f *fixture) superuser(t *testing.T, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// again is the same vault in another process.
func (f *fixture) again() *Vault { return New(f.db, f.keys) }

func TestSealedValuesOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := uuid.New()
	made := f.subject(t, f.a, id)
	for _, value := range []string{"", "ann@example.org", strings.Repeat("Zoë ", 5000), "a\x00b\xff"} {
		token, err := made.Seal("member.email", value)
		if err != nil || value != "" && strings.Contains(token, value) {
			t.Fatalf("%q, %v", token, err)
		}
		key, err := f.again().Key(t.Context(), f.a, id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := key.Open("member.email", token); err != nil || got != value {
			t.Errorf("%q, %v, want %q", got, err, value)
		}
		if other, err := key.Seal("member.email", value); err != nil || other == token {
			t.Errorf("the same value gives the same token: %v", err)
		}
	}
}

// A token moved to another field, row or workspace does not open, whichever key is tried on it.
func TestMovedValuesDoNotOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := uuid.New(), uuid.New()
	first, second := f.subject(t, f.a, one), f.subject(t, f.a, two)
	elsewhere := f.subject(t, f.b, one) // the same id in another workspace
	token, err := first.Seal("member.email", "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	same := func(w pg.Workspace, id uuid.UUID) Key { return Key{workspace: w, subject: id, key: first.key} }
	for name, c := range map[string]struct {
		key   Key
		field string
	}{
		"another field, the key is the same":            {first, "member.full_name"},
		"a field that begins alike":                     {first, "member.email2"},
		"another member":                                {second, "member.email"},
		"another workspace":                             {elsewhere, "member.email"},
		"another member, were the key the same":         {same(f.a, two), "member.email"},
		"another workspace, were the key the same":      {same(f.b, one), "member.email"},
		"a field that ends in the id, were it the same": {same(f.a, two), "member.email/" + one.String()},
	} {
		value, err := c.key.Open(c.field, token)
		if err == nil || value != "" {
			t.Errorf("%s: opens as %q, %v", name, value, err)
		}
		if strings.HasSuffix(name, "the same") && !errors.Is(err, keyring.ErrPurpose) {
			t.Errorf("%s: %v, want ErrPurpose", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "ann@") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
}

// Neither does a wrapped key open for another subject, nor in another workspace, nor under other keys.
func TestMovedKeysDoNotOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := uuid.New(), uuid.New()
	f.subject(t, f.a, one)
	f.superuser(t, `insert into `+f.a.Schema()+`.data_key select $1, wrapped from `+f.a.Schema()+`.data_key where subject = $2`, two, one)
	f.superuser(t, `insert into `+f.b.Schema()+`.data_key select * from `+f.a.Schema()+`.data_key where subject = $1`, one)
	if _, err := f.Key(t.Context(), f.a, two); !errors.Is(err, keyring.ErrPurpose) || !strings.Contains(err.Error(), two.String()) {
		t.Errorf("another subject's key: %v", err)
	}
	if _, err := f.Key(t.Context(), f.b, one); !errors.Is(err, keyring.ErrPurpose) {
		t.Errorf("another workspace's key: %v", err)
	}
	if _, err := New(f.db, newKeyring(t)).Key(t.Context(), f.a, one); err == nil || errors.Is(err, ErrErased) {
		t.Errorf("under other keys: %v: it is not gone, it is not ours", err)
	}
	if _, err := f.Key(t.Context(), f.a, one); err != nil {
		t.Errorf("the key itself: %v", err)
	}
}

func TestErased(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gone, stays := uuid.New(), uuid.New()
	f.subject(t, f.a, gone)
	f.subject(t, f.a, stays)
	if _, err := f.Key(t.Context(), f.a, gone); err != nil {
		t.Fatal(err)
	}
	f.superuser(t, `delete from `+f.a.Schema()+`.data_key where subject = $1`, gone)
	if _, err := f.again().Key(t.Context(), f.a, gone); !errors.Is(err, ErrErased) {
		t.Errorf("in another process: %v, want ErrErased", err)
	}
	keys, err := f.again().Keys(t.Context(), f.a, []uuid.UUID{gone, stays, uuid.New(), stays})
	if _, there := keys[stays]; err != nil || len(keys) != 1 || !there {
		t.Errorf("of several: %d keys, %v", len(keys), err)
	}
	if _, err := f.Key(t.Context(), f.a, gone); err != nil {
		t.Errorf("within a minute it is remembered: %v", err)
	}
	f.expire()
	if _, err := f.Key(t.Context(), f.a, gone); !errors.Is(err, ErrErased) {
		t.Errorf("after a minute: %v, want ErrErased", err)
	}
	if _, err := f.Key(t.Context(), f.b, stays); !errors.Is(err, ErrErased) {
		t.Errorf("of another workspace: %v, want ErrErased", err)
	}
}

// expire lets the time pass after which keys are forgotten.
func (f *fixture) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s, o := range f.open {
		o.until = time.Now().Add(-time.Nanosecond)
		f.open[s] = o
	}
}

// acquired is how often a connection of the workspace's lane was taken.
func (f *fixture) acquired() (n int64) {
	for _, pool := range f.db.Lane(f.a) {
		n += pool.Stat().AcquireCount()
	}
	return n
}

// What is remembered costs no query, ends in time, and does not grow without bound.
func TestRemembered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := uuid.New()
	f.subject(t, f.a, id)
	if len(f.open) != 0 {
		t.Error("a key is remembered before it is stored")
	}
	if _, err := f.Key(t.Context(), f.a, id); err != nil {
		t.Fatal(err)
	}
	before := f.acquired()
	for range 10 {
		if _, err := f.Key(t.Context(), f.a, id); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.acquired() - before; n != 0 {
		t.Errorf("%d queries for what is remembered", n)
	}
	left := time.Until(f.open[subject{f.a.ID, id}].until)
	if left <= 0 || left > time.Minute {
		t.Errorf("it is remembered for %s", left)
	}
	f.expire()
	if _, err := f.Key(t.Context(), f.a, id); err != nil || f.acquired() != before+1 {
		t.Errorf("after its time it is not read again: %v", err)
	}
	for range maxOpen + 10 {
		f.remember(subject{f.a.ID, uuid.New()}, keyring.DataKey{})
	}
	if n := len(f.open); n > maxOpen {
		t.Errorf("%d keys are remembered", n)
	}
	if _, err := f.Key(t.Context(), f.a, id); err != nil {
		t.Error(err)
	}
	if keys, err := f.Keys(t.Context(), f.a, nil); err != nil || len(keys) != 0 {
		t.Errorf("no keys asked for: %v, %v", keys, err)
	}
}

func TestInParallel(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ids := make([]uuid.UUID, 8)
	tokens := map[pg.Workspace][]string{}
	for i := range ids {
		ids[i] = uuid.New()
		for _, w := range []pg.Workspace{f.a, f.b} {
			token, err := f.subject(t, w, ids[i]).Seal("x", fmt.Sprint(w.ID, i))
			if err != nil {
				t.Fatal(err)
			}
			tokens[w] = append(tokens[w], token)
		}
	}
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for round := range 50 {
				w, i := f.a, (worker+round)%len(ids)
				if round%2 == 1 {
					w = f.b
				}
				if round%10 == 9 {
					f.expire()
				}
				keys, err := f.Keys(context.Background(), w, ids)
				if err != nil {
					t.Error(err)
					return
				}
				if value, err := keys[ids[i]].Open("x", tokens[w][i]); err != nil || value != fmt.Sprint(w.ID, i) {
					t.Errorf("%q, %v", value, err)
				}
			}
		})
	}
	wg.Wait()
}

// The hash finds a value again, in its field and workspace only.
func TestHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	own := f.subject(t, f.a, f.a.ID)
	other := f.subject(t, f.b, f.b.ID)
	loaded, err := f.again().Key(t.Context(), f.a, f.a.ID)
	if err != nil {
		t.Fatal(err)
	}
	hash := own.Hash("member.email", "ann@example.org")
	if hash != loaded.Hash("member.email", "ann@example.org") || len(hash) < 40 || strings.Contains(hash, "ann") {
		t.Errorf("%q is not found again", hash)
	}
	for name, h := range map[string]string{
		"another address":   own.Hash("member.email", "bob@example.org"),
		"another field":     own.Hash("member.phone", "ann@example.org"),
		"another workspace": other.Hash("member.email", "ann@example.org"),
	} {
		if h == hash {
			t.Errorf("%s has the same hash", name)
		}
	}
}
