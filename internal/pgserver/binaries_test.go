package pgserver

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bare is a search on a machine with nothing but the PATH given.
func bare(t *testing.T, path string) *search {
	t.Helper()
	t.Setenv("PATH", path)
	return &search{log: slog.New(slog.NewTextHandler(t.Output(), nil)), cache: openTempFolder(t)}
}

func TestNothingFoundAndNoNpm(t *testing.T) {
	old := openTempFolder(t)
	write(t, filepath.Join(old, "initdb"), "")
	writeProgram(t, filepath.Join(old, "postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
	_, err := bare(t, old).find(t.Context())
	if err == nil {
		t.Fatal("found one")
	}
	t.Log(err)
	for _, want := range []string{"no Postgres 15 or newer", "Postgres 9.6.24 in " + old, `"npm": executable file not found`, "apt install postgresql", "KLUIS_DATABASE_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestNewestOfTheDistribution(t *testing.T) {
	root := openTempFolder(t)
	for _, version := range []string{"14.3", "16.2", "17.1 (Ubuntu 17.1-1)", "15.9"} {
		bin := filepath.Join(root, version[:2], "bin")
		write(t, filepath.Join(bin, "initdb"), "")
		writeProgram(t, filepath.Join(bin, "postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) "+version+"'\n")
	}
	for major, want := range map[int]string{0: "17.1 (Ubuntu 17.1-1)", 15: "15.9", 14: "14.3"} {
		s := bare(t, "")
		s.known, s.major = []string{filepath.Join(root, "*", "bin")}, major
		b, err := s.find(t.Context())
		if major == 14 { // the cluster is older than what we work with: its programs do not help
			if err == nil {
				t.Errorf("took %v", b)
			}
			continue
		}
		if err != nil || b.version != want {
			t.Errorf("for a cluster of %d: %v, %v, want %s", major, b, err, want)
		}
	}
}

func TestGivenFolder(t *testing.T) {
	s := bare(t, "")
	s.folder = openTempFolder(t)
	if _, err := s.find(t.Context()); err == nil || !strings.Contains(err.Error(), s.folder) {
		t.Errorf("got: %v", err)
	}
}

// Fetching takes the network: `KLUIS_TEST_NPM=1 go test -run Npm ./internal/pgserver`.
func TestNpm(t *testing.T) {
	if os.Getenv("KLUIS_TEST_NPM") == "" {
		t.Skip("KLUIS_TEST_NPM is not set")
	}
	tools := openTempFolder(t)
	for _, tool := range []string{"npm", "node", "sh", "env"} {
		if err := os.Symlink("/usr/bin/"+tool, filepath.Join(tools, tool)); err != nil {
			t.Fatal(err)
		}
	}
	s := bare(t, tools)
	b, err := s.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.major != npmMajor || !strings.HasPrefix(b.dir, s.cache) {
		t.Errorf("got %v", b)
	}
	t.Setenv("PATH", "")
	if again, err := s.find(t.Context()); err != nil || again != b {
		t.Errorf("from the cache: %v, %v", again, err)
	}
	for _, dir := range []string{openTempFolder(t), t.TempDir()} { // the second is closed to others
		server := start(t, filepath.Join(dir, "pg"), Options{Binaries: b.dir})
		if err := server.CreateDatabase(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		t.Log(ask[string](t, server.URL("x"), `select version() || ' ' || lower('ÄÉ')`))
	}
}

// The digest is what npm goes by: other content is refused.
func TestNpmWithOtherContent(t *testing.T) {
	if os.Getenv("KLUIS_TEST_NPM") == "" {
		t.Skip("KLUIS_TEST_NPM is not set")
	}
	dir := t.TempDir()
	if err := writeLockFile(dir, "linux-x64", npmPlatforms["linux-arm64"]); err != nil {
		t.Fatal(err)
	}
	err := runTool(t.Context(), dir, "/usr/bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-online")
	if err == nil || !strings.Contains(err.Error(), "EINTEGRITY") {
		t.Errorf("got: %v", err)
	}
}
