package keyring

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, path string) *Keyring {
	t.Helper()
	k, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPrepend(t *testing.T) {
	path := newFile(t)
	first := mustLoad(t, path).IDs()
	if err := Prepend(path); err != nil {
		t.Fatal(err)
	}
	second := mustLoad(t, path).IDs()
	if len(second) != 2 || second[1] != first[0] || second[0] == first[0] {
		t.Fatalf("prepending to %q gave %q", first, second)
	}
	if err := Append(path); err != nil {
		t.Fatal(err)
	}
	third := mustLoad(t, path).IDs()
	if len(third) != 3 || !slices.Equal(third[:2], second) {
		t.Fatalf("appending to %q gave %q", second, third)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), header) {
		t.Errorf("the comments are gone: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the key file only", left, err)
	}
}

func TestWithKey(t *testing.T) {
	for text, want := range map[string]string{
		"a\n":            "K\na\n",
		"a":              "K\na",
		"# c\n\na\nb\n":  "# c\n\nK\na\nb\n",
		"# c\na\n# d\nb": "# c\nK\na\n# d\nb",
	} {
		if got := withKey(text, "K", true); got != want {
			t.Errorf("before %q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"a\n": "a\nK\n", "a": "a\nK\n", "a\r\n\n": "a\nK\n"} {
		if got := withKey(text, "K", false); got != want {
			t.Errorf("behind %q: %q, want %q", text, got, want)
		}
	}
}

// Of programs that add keys at the same time none undoes what another did, and whoever reads meanwhile reads a whole file.
func TestPrependRace(t *testing.T) {
	path := newFile(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := Prepend(path); err != nil {
				t.Error(err)
			}
			if _, err := Load(path, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ids := mustLoad(t, path).IDs(); len(ids) != 17 {
		t.Errorf("%d keys, want 17", len(ids))
	}
}

func TestPrependRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "keys")
	if err := Prepend(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	path := newFile(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"broken": string(whole) + "nonsense\n", "empty": "# nothing\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Prepend(path); err == nil {
			t.Errorf("a key was put into a file that is %s", name)
		}
		if left, _ := os.ReadFile(path); string(left) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestPrependThroughLink(t *testing.T) {
	path := newFile(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Prepend(link); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if n := len(mustLoad(t, path).IDs()); n != 2 {
		t.Errorf("%d keys behind the link, want 2", n)
	}
}

// Two programs with one file. What either seals under a key that the other has not seen yet opens there at once.
func TestFollow(t *testing.T) {
	path := newFile(t)
	a, b := mustLoad(t, path), mustLoad(t, path)
	old := mustSeal(t, a, "field", "old")
	if err := Prepend(path); err != nil {
		t.Fatal(err)
	}
	newer := mustLoad(t, path)
	fresh := mustSeal(t, newer, "field", "fresh")
	for name, token := range map[string]string{"old": old, "fresh": fresh} {
		if got, err := b.Open("field", token); err != nil || string(got) != name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if !b.Current(fresh) || b.Current(old) {
		t.Error("after it opened a new token, the old key still encrypts")
	}
	mac := newer.MAC("code", []byte("1"))
	if !a.CheckMAC("code", []byte("1"), mac) || a.CheckMAC("code", []byte("2"), mac) {
		t.Error("a MAC under the new key is not checked rightly")
	}
	// The old key goes.
	ids := a.IDs()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := os.WriteFile(path, []byte(lines[len(lines)-2]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := a.Now().IDs(); !slices.Equal(got, ids[:1]) {
		t.Fatalf("the keys are %q, want %q", got, ids[:1])
	}
	if _, err := a.Open("field", old); !errors.Is(err, ErrSealed) {
		t.Errorf("a key that is gone opens: %v", err)
	}
}

// LookEvery after a key was put first, everybody seals with it.
func TestFollowSeals(t *testing.T) {
	path := newFile(t)
	k := mustLoad(t, path)
	if err := Prepend(path); err != nil {
		t.Fatal(err)
	}
	k.source.looked.Store(new(time.Now().Add(-LookEvery)))
	token := mustSeal(t, k, "field", "x")
	if id, ok := mustLoad(t, path).KeyOf(token); !ok || id != mustLoad(t, path).IDs()[0] {
		t.Errorf("sealed with %q", id)
	}
}

// following makes a keyring keep what is gone, and gives the follower, whose steps the test takes, and what it told.
func following(k *Keyring, needs func(left *Keyring) error) (f *follower, told func() []error) {
	var errs []error
	k.source.followed = true
	f = &follower{Keyring: k, tell: func(err error) { errs = append(errs, err) },
		needs: func(_ context.Context, left *Keyring) error { return needs(left) }}
	return f, func() []error {
		k.reload(0)
		f.step(context.Background())
		now := errs
		errs = nil
		return now
	}
}

// A file that cannot be taken changes nothing, and is told of once.
func TestFollowRefuses(t *testing.T) {
	path := newFile(t)
	k := mustLoad(t, path)
	_, told := following(k, func(*Keyring) error { return nil })
	ids := k.IDs()
	token := mustSeal(t, k, "field", "x")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(path, whole[:len(whole)-5], 0o600) },
		func() error { return os.WriteFile(path, nil, 0o600) },
		func() error { return errors.Join(os.WriteFile(path, whole, 0o600), os.Chmod(path, 0o644)) },
		func() error { return os.Remove(path) },
		func() error { return Create(path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if got := told(); i == 0 && (len(got) != 1 || got[0] == nil) || i > 0 && len(got) > 0 {
				t.Errorf("told %v", got)
			}
			if got := k.Now().IDs(); !slices.Equal(got, ids) {
				t.Fatalf("the keys are %q, want %q", got, ids)
			}
		}
		if got, err := k.Open("field", token); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Chmod(path, 0o600), Prepend(path)); err != nil {
		t.Fatal(err)
	}
	if got := told(); len(got) != 1 || got[0] != nil {
		t.Errorf("told %v", got)
	}
	if got := k.Now().IDs(); len(got) != 2 || got[1] != ids[0] {
		t.Errorf("the keys are %q", got)
	}
}

// A key that is taken out of the file while something is sealed with it is told of, and goes on to open; it is let go when
// nothing needs it any more. One that nothing needs is let go at once, and one that is put back is a key as before.
func TestFollowKeepsWhatIsNeeded(t *testing.T) {
	path := newFile(t)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Prepend(path); err != nil {
		t.Fatal(err)
	}
	both, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := mustLoad(t, path)
	ids := k.IDs()
	write(old)
	token := mustSeal(t, mustLoad(t, path), "field", "x")
	write(both)
	needed := errors.New("a value is sealed with it")
	f, told := following(k, func(left *Keyring) error {
		if _, err := left.Open("field", token); err != nil {
			return needed
		}
		return nil
	})
	told()
	newer := []byte(strings.ReplaceAll(string(both), strings.TrimPrefix(string(old), header), ""))

	write(newer) // the old one is gone, too early
	if got := told(); len(got) != 2 || got[0] != nil || !errors.Is(got[1], needed) || !strings.Contains(got[1].Error(), ids[1]) || strings.Contains(got[1].Error(), ids[0]) {
		t.Errorf("told %v", got)
	}
	if got, err := k.Open("field", token); err != nil || string(got) != "x" || !slices.Equal(k.IDs(), ids) {
		t.Errorf("%q, %v, keys %q", got, err, k.IDs())
	}
	if got := told(); len(got) > 0 {
		t.Errorf("told again %v", got)
	}
	f.asked = f.asked.Add(-askAgain)
	if got := told(); len(got) != 1 || !errors.Is(got[0], needed) {
		t.Errorf("told after a while %v", got)
	}
	rewrapped, err := k.Rewrap(token)
	if err != nil {
		t.Fatal(err)
	}
	lost := token
	token = rewrapped
	f.asked = f.asked.Add(-askAgain)
	if got := told(); len(got) > 0 || !slices.Equal(k.IDs(), ids[:1]) {
		t.Errorf("told %v, keys %q", got, k.IDs())
	}
	if _, err := k.Open("field", lost); !errors.Is(err, ErrSealed) {
		t.Errorf("a key that was let go opens: %v", err)
	}

	write(both) // put back
	if got := told(); len(got) != 1 || got[0] != nil || !slices.Equal(k.IDs(), ids) {
		t.Errorf("told %v, keys %q", got, k.IDs())
	}
	write(newer)
	if got := told(); len(got) != 1 || got[0] != nil || !slices.Equal(k.IDs(), ids[:1]) {
		t.Errorf("told %v, keys %q", got, k.IDs())
	}
}

// Many use a keyring while its file changes under them.
func TestFollowWhileUsed(t *testing.T) {
	path := newFile(t)
	a, b := mustLoad(t, path), mustLoad(t, path)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				token, err := a.Seal("field", []byte("x"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := b.Open("field", token); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := Prepend(path); err != nil {
			t.Error(err)
		}
		a.Now()
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
}
