package pgserver

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnotherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	write(t, filepath.Join(dir, "cluster", "PG_VERSION"), "13\n")
	before := fingerprint(t, filepath.Join(dir, "cluster"))
	for _, binaries := range []string{"", scripts(t, "17.1", "")} {
		_, err := tryStart(t, dir, Options{Binaries: binaries})
		if err == nil || !strings.Contains(err.Error(), "Postgres 13") {
			t.Errorf("want a refusal that names Postgres 13, got: %v", err)
		}
		t.Log(err)
	}
	if diff := cmp.Diff(before, fingerprint(t, filepath.Join(dir, "cluster"))); diff != "" {
		t.Errorf("the data was touched: %s", diff)
	}
}

func TestNotOurFolder(t *testing.T) {
	t.Parallel()
	for what, set := range map[string]func(dir string){
		"is itself a Postgres data directory": func(dir string) { write(t, filepath.Join(dir, "PG_VERSION"), "15\n") },
		"not a whole cluster":                 func(dir string) { write(t, filepath.Join(dir, "cluster", "base"), "") },
		"not a cluster of a Postgres":         func(dir string) { write(t, filepath.Join(dir, "cluster", "PG_VERSION"), "abc\n") },
		"anybody may write there":             func(dir string) { _ = os.Chmod(dir, 0o777) },
	} {
		dir := openTempFolder(t)
		set(dir)
		before := fingerprint(t, dir)
		_, err := tryStart(t, dir, Options{})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q, got: %v", what, err)
		}
		for name, sum := range before {
			if fingerprint(t, dir)[name] != sum {
				t.Errorf("%s was touched", name)
			}
		}
	}
}

func TestUpgradedPackage(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	o := otherProcess(t, dir, "")
	o.ready(t)
	pid := pidOf(t, dir)
	upgraded := scripts(t, "15.99 (of tomorrow)", "")
	if b, err := newSearch(account{}, slog.Default(), upgraded, 0, "").find(t.Context()); err != nil || b.version != "15.99 (of tomorrow)" {
		t.Fatal(b, err)
	}
	if real, err := newSearch(account{}, slog.Default(), "", 0, "").find(t.Context()); err != nil || real.major != 15 {
		t.Skipf("the programs here are not of Postgres 15: %v", err)
	}
	stop(t, start(t, dir, Options{Binaries: upgraded}))
	if pidOf(t, dir) != pid {
		t.Error("restarted under somebody who uses it")
	}
	o.kill(t)
	start(t, dir, Options{Binaries: upgraded})
	if pidOf(t, dir) == pid {
		t.Error("not restarted, though nobody else uses it")
	}
}

func TestLostPasswords(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	s := start(t, dir, Options{Unwatched: true})
	url := s.URL("x")
	if err := os.Remove(filepath.Join(dir, "passwords")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "passwords") {
		t.Errorf("want a refusal while the server is in use, got: %v", err)
	}
	stop(t, s)
	s = start(t, dir, Options{})
	if err := s.CreateDatabase(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, s.URL("x"), `select current_user::text`); got != Login || s.URL("x") == url {
		t.Error(got)
	}
	write(t, filepath.Join(dir, "passwords"), "*:*:*:postgres:wrong\n*:*:*:kluis:wrong\n*:*:*:kluis_admin:wrong\n")
	if _, err := tryStart(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "other passwords") {
		t.Errorf("got: %v", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fingerprint is every file under root with a digest of what it says.
func fingerprint(t *testing.T, root string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		sums[path] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}
