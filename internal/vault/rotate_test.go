package vault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// rotating is a fixture whose keys are in a file that had one key, and has another before it now.
type rotating struct {
	*fixture
	file     string
	old, new string // IDs
	members  []uuid.UUID
}

func newRotating(t *testing.T, members int) *rotating {
	t.Helper()
	r := &rotating{fixture: newFixture(t), file: filepath.Join(t.TempDir(), "keys")}
	if err := keyring.Create(r.file); err != nil {
		t.Fatal(err)
	}
	keys := r.ring(t)
	r.Vault = New(r.db, keys)
	for range members {
		id := uuid.New()
		r.subject(t, r.a, id)
		r.members = append(r.members, id)
	}
	r.subject(t, r.b, r.b.ID)
	for _, plain := range []string{"one", "two"} {
		id := uuid.New()
		sealed, err := keys.Seal("kluis/signup/"+id.String(), []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		r.superuser(t, `insert into kluis.signup (id, sealed, code, expires_at) values ($1, $2, '', now())`, id, sealed)
	}
	r.old = keys.IDs()[0]
	if err := keyring.Prepend(r.file); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour) // so that nobody has to be waited for
	if err := os.Chtimes(r.file, long, long); err != nil {
		t.Fatal(err)
	}
	r.new = keys.Now().IDs()[0]
	return r
}

func (r *rotating) ring(t *testing.T) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Load(r.file, "")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// rotation is one in a process of its own.
func (r *rotating) rotation(t *testing.T) Rotation {
	t.Helper()
	return Rotation{DB: r.db, Keys: r.ring(t), settle: 500 * time.Millisecond,
		Workspaces: func(context.Context) ([]pg.Workspace, error) { return []pg.Workspace{r.a, r.b}, nil }}
}

func (r *rotating) count(t *testing.T) (older, newer int, unopened []string) {
	t.Helper()
	c, err := r.rotation(t).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range c.Values {
		older, newer = older+of[r.old], newer+of[r.new]
	}
	if older != c.Older() {
		t.Errorf("Older is %d, %d are under the old key", c.Older(), older)
	}
	return older, newer, c.Unopened
}

// A rotation that is killed goes on where it stopped, two at once are in nobody's way, and at the end the new key is
// enough.
func TestRotate(t *testing.T) {
	t.Parallel()
	r := newRotating(t, pageRows+20)
	all := len(r.members) + 3
	if older, newer, _ := r.count(t); older != all || newer != 0 {
		t.Fatalf("before: %d under the old key, %d under the new one", older, newer)
	}
	killed := r.rotation(t)
	ctx, kill := context.WithCancel(t.Context())
	killed.Progress = func(Progress) { kill() } // after the first workspace
	if _, err := killed.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("killed: %v", err)
	}
	if older, newer, _ := r.count(t); older == 0 || newer == 0 || older+newer != all {
		t.Fatalf("killed half-way: %d under the old key, %d under the new one", older, newer)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c, err := r.rotation(t).Run(t.Context())
			if err != nil || c.Older() != 0 || len(c.Unopened) != 0 {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	wg.Wait()
	if older, newer, unopened := r.count(t); older != 0 || newer != all || unopened != nil {
		t.Fatalf("after: %d under the old key, %d under the new one, %v", older, newer, unopened)
	}
	start := time.Now()
	if c, err := r.rotation(t).Run(t.Context()); err != nil || c.Older() != 0 || time.Since(start) > 10*time.Second {
		t.Errorf("again: %+v, %v in %s", c, err, time.Since(start))
	}

	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := os.WriteFile(r.file, []byte(lines[len(lines)-2]), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := New(r.db, r.ring(t))
	if keys, err := fresh.Keys(t.Context(), r.a, r.members); err != nil || len(keys) != len(r.members) {
		t.Errorf("without the old key %d of %d open: %v", len(keys), len(r.members), err)
	}
	if err := fresh.Check(t.Context(), r.b); err != nil {
		t.Error(err)
	}
}

// What was sealed with the old key while the rotation was at it, by who had not seen the new one, is found too.
func TestRotateFindsLatecomers(t *testing.T) {
	t.Parallel()
	r := newRotating(t, 3)
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	stale, err := keyring.Load("", lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	rotation, once := r.rotation(t), sync.Once{}
	late := uuid.New()
	rotation.Progress = func(p Progress) {
		if p.Workspaces == p.Of {
			once.Do(func() {
				_, insert, err := New(r.db, stale).NewKey(r.a, late)
				if err == nil {
					err = r.db.Do(t.Context(), r.a, insert)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if c, err := rotation.Run(t.Context()); err != nil || c.Older() != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if older, _, _ := r.count(t); older != 0 {
		t.Errorf("%d values are under the old key", older)
	}
}

// What does not open stays as it is, and is named without being shown.
func TestRotateReports(t *testing.T) {
	t.Parallel()
	r := newRotating(t, 3)
	other, _, err := New(r.db, newKeyring(t)).NewKey(r.a, uuid.New())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := newKeyring(t).Wrap(wrapping(r.a, r.members[0]), other.key)
	if err != nil {
		t.Fatal(err)
	}
	r.superuser(t, `update `+r.a.Schema()+`.data_key set wrapped = $1 where subject = $2`, foreign, r.members[0])
	r.superuser(t, `update `+r.a.Schema()+`.data_key set wrapped = (select wrapped from `+r.b.Schema()+`.data_key) where subject = $1`, r.members[1])
	r.superuser(t, `update kluis.signup set sealed = 'nonsense' where id = (select id from kluis.signup limit 1)`)
	c, err := r.rotation(t).Run(t.Context())
	if err != nil || c.Older() != 0 || len(c.Unopened) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, want := range []string{r.members[0].String(), r.members[1].String(), "sign-ups: "} {
		if !strings.Contains(strings.Join(c.Unopened, "\n"), want) {
			t.Errorf("%s is not in %v", want, c.Unopened)
		}
	}
	if _, err := New(r.db, r.ring(t)).Key(t.Context(), r.a, r.members[1]); err == nil {
		t.Error("a moved key opens after the rotation")
	}
}

// Keys of another installation are refused, and none at all is needed where there are no data.
func TestCheck(t *testing.T) {
	t.Parallel()
	r := newRotating(t, 0)
	if err := New(r.db, newKeyring(t)).Check(t.Context(), r.b); err == nil || !strings.Contains(err.Error(), "KLUIS_KEYS") {
		t.Errorf("other keys: %v", err)
	}
	for _, w := range []pg.Workspace{r.a, r.b, {ID: uuid.New()}} {
		if err := New(r.db, r.ring(t)).Check(t.Context(), w); err != nil {
			t.Errorf("workspace %s: %v", w.ID, err)
		}
	}
	err := r.db.Control(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `select 1 from data_key`)
		return err
	})
	if err == nil {
		t.Error("the login reads data keys")
	}
}
