package rooms_test

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// These tests hold the rooms of docs/architecture.md: which room may import which, the same noun under the same file
// name in each room, a doc.go in each. They read the files themselves, because a test that asks `go list` is answered
// from the cache of `go test` and stays green.

const module = "github.com/kluis-eu/kluis/"

// rule is what the files of one room may import.
type rule struct {
	ours  string // rooms, besides its own; "*" for all
	tests string // rooms that its _test.go files may import as well, to set the scene
	only  string // if not empty: nothing else from outside, but the standard library
	never string // path prefixes that are out; for _test.go files too, unless they stand in neverButTests
}

// rooms says what each room may import, and what its tests may import besides. That is mostly migrations: a test
// works on a real database, and tells internal/pgtest, which knows no room, what to migrate.
var rooms = map[string]rule{
	"domain":      {only: "github.com/google/uuid", never: "database/sql net net/http os os/ syscall crypto/rand math/rand math/rand/v2"},
	"eventstore":  {ours: "internal", tests: "migrations"},
	"projections": {ours: "domain eventstore internal", tests: "migrations"},
	"commands":    {ours: "domain eventstore projections internal", tests: "migrations"},
	"jobs":        {ours: "domain eventstore commands projections internal", tests: "migrations"},
	"http":        {ours: "domain commands projections internal", never: "github.com/jackc/ database/sql"},
	"migrations":  {tests: "internal"},
	"internal":    {tests: "migrations"},
	"cmd":         {ours: "*", never: "net/http"},
	"cmd/demo":    {ours: "internal"}, // a client of a server, so it knows no room
	"promises":    {ours: "*"},        // tests alone: no room imports it
	".":           {ours: "*"},        // this test, and tests of the whole
}

var neverButTests = map[string]string{
	"domain": "os",       // the payloads ever written, in testdata
	"cmd":    "net/http", // a test is a client; that it has no alias is checked for every file
}

// onlyButTests is what pure rooms use to test themselves.
const onlyButTests = "github.com/google/go-cmp/ pgregory.net/rapid"

// file is one Go file of the module, with its import paths.
type file struct {
	path    string
	imports []string
}

func (f file) room() string {
	if strings.HasPrefix(f.path, "cmd/demo/") {
		return "cmd/demo"
	}
	room, _, inside := strings.Cut(f.path, "/")
	if !inside {
		return "."
	}
	return room
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// readTree reads the import lines of every Go file of the module. It passes over what `./...` passes over
// (testdata, names with a leading dot or underscore, modules of their own) and over the data of a server.
func readTree(tree fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir():
			_, err := fs.Stat(tree, path.Join(name, "go.mod"))
			if err == nil || name == "data" || d.Name() == "testdata" || strings.ContainsAny(d.Name()[:1], "._") {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := file{path: name}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// breaches names every import that the table does not allow.
func breaches(files []file) []string {
	var found []string
	for _, f := range files {
		r, known := rooms[f.room()]
		if !known {
			found = append(found, fmt.Sprintf("%s: %s is no room: give it a line in the table, here and in README.md", f.path, f.room()))
			continue
		}
		for _, imported := range f.imports {
			if !r.allows(f, imported) {
				found = append(found, fmt.Sprintf("%s: %s does not import %s", f.path, f.room(), imported))
			}
		}
		if slices.Contains(f.imports, module+"http") && slices.Contains(f.imports, "net/http") && f.room() != "promises" {
			found = append(found, f.path+": imports both net/http and the room http, so one needs an alias")
		}
	}
	return found
}

// allows decides about one import of one file of the room.
func (r rule) allows(f file, imported string) bool {
	if room, ours := ownRoom(imported); ours {
		if room == "promises" {
			return false
		}
		allowed := r.ours
		if f.test() {
			allowed += " " + r.tests
		}
		return room == f.room() || r.ours == "*" || slices.Contains(strings.Fields(allowed), room)
	}
	if under(imported, r.never) && !(f.test() && under(imported, neverButTests[f.room()])) {
		return false
	}
	first, _, _ := strings.Cut(imported, "/")
	if r.only == "" || !strings.Contains(first, ".") {
		return true
	}
	return under(imported, r.only) || f.test() && under(imported, onlyButTests)
}

// ownRoom tells which room an import path of this module belongs to.
func ownRoom(imported string) (string, bool) {
	inside, ours := strings.CutPrefix(imported+"/", module)
	room, _, _ := strings.Cut(inside, "/")
	return cmp.Or(room, "."), ours
}

// under tells whether a path stands in a list: by name, or below an entry that ends with a slash.
func under(imported, list string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(entry string) bool {
		return imported == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(imported, entry)
	})
}

func TestRoomsImport(t *testing.T) {
	files, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go file found: the test looks in the wrong place")
	}
	for _, breach := range breaches(files) {
		t.Error(breach)
	}
}

// The check itself can fail: each of these files is one breach, the others beside them are none.
func TestRoomsImportFinds(t *testing.T) {
	for name, src := range map[string]string{
		"domain/task.go":                  `import "github.com/kluis-eu/kluis/internal/pg"`,
		"domain/member.go":                `import "github.com/labstack/echo/v4"`,
		"domain/comment.go":               `import "net/http"`,
		"domain/clock.go":                 `import "crypto/rand"`,
		"domain/task_test.go":             `import "github.com/kluis-eu/kluis/migrations"`,
		"eventstore/append.go":            `import "github.com/kluis-eu/kluis/domain"`,
		"eventstore/append_test.go":       `import "github.com/kluis-eu/kluis/domain"`,
		"projections/task.go":             `import "github.com/kluis-eu/kluis/commands"`,
		"commands/task.go":                `import "github.com/kluis-eu/kluis/http"`,
		"cmd/demo/client.go":              `import "github.com/kluis-eu/kluis/cmd/app"`,
		"jobs/mail.go":                    `import "github.com/kluis-eu/kluis/migrations"`,
		"http/task.go":                    `import store "github.com/kluis-eu/kluis/eventstore"`,
		"http/member.go":                  `import _ "github.com/jackc/pgx/v5/pgxpool"`,
		"http/sub/deep.go":                `import "database/sql"`,
		"http/task_test.go":               `import "github.com/jackc/pgx/v5"`,
		"cmd/kluis/task_test.go":          `import "github.com/kluis-eu/kluis/promises"`,
		"migrations/migrations.go":        `import "github.com/kluis-eu/kluis/eventstore"`,
		"internal/pg/pg.go":               `import "github.com/kluis-eu/kluis/domain"`,
		"internal/pgtest/pgtest.go":       `import "github.com/kluis-eu/kluis/migrations"`,
		"cmd/kluis/serve.go":              `import "net/http"`,
		"cmd/kluis/serve_test.go":         `import ("net/http"; kluis "github.com/kluis-eu/kluis/http")`,
		"manager/manager.go":              `import "fmt"`,
		"internal/plumbing/only_linux.go": "import \"github.com/kluis-eu/kluis/jobs\"\n//go:build never",
	} {
		tree := fstest.MapFS{
			name:                         {Data: []byte("package p\n" + src)},
			"domain/error.go":            {Data: []byte(`package domain; import ("errors"; "github.com/google/uuid")`)},
			"domain/rapid_test.go":       {Data: []byte(`package domain_test; import ("github.com/kluis-eu/kluis/domain"; "pgregory.net/rapid")`)},
			"http/http.go":               {Data: []byte(`package http; import ("net/http"; "github.com/kluis-eu/kluis/commands")`)},
			"promises/once_test.go":      {Data: []byte(`package promises; import ("net/http"; kluis "github.com/kluis-eu/kluis/http"; "github.com/kluis-eu/kluis/jobs")`)},
			"eventstore/head_test.go":    {Data: []byte(`package eventstore_test; import "github.com/kluis-eu/kluis/migrations"`)},
			"cmd/kluis/main.go":          {Data: []byte(`package main; import "github.com/kluis-eu/kluis/http"`)},
			"tools/go.mod":               {Data: []byte(`module tools`)},
			"tools/main.go":              {Data: []byte(`package main`)},
			"eventstore/testdata/bad.go": {Data: []byte(`not Go`)},
			".cache/x/bad.go":            {Data: []byte(`not Go`)},
		}
		files, err := readTree(tree)
		if err != nil {
			t.Fatal(err)
		}
		found := breaches(files)
		if len(found) != 1 || !strings.HasPrefix(found[0], name+": ") {
			t.Errorf("%s with %s: found %q, expected one breach, there", name, src, found)
		}
	}
}

// excused lists the migrations of a workspace that bring no noun, or one that some rooms have no file for.
var excused = map[string]struct{ rooms, why string }{
	"log":     {"commands projections http", "the tables of eventstore/"},
	"session": {"domain projections", "keys, credentials and sessions are no history: no events, so nothing to fold"},
	"search":  {"domain commands", "what is searched is what other nouns say: no events of its own"},
}

// nounRooms are the rooms in which each noun has its file.
var nounRooms = []string{"domain", "commands", "projections", "http"}

var migrationName = regexp.MustCompile(`^\d{3}_([a-z][a-z0-9_]*)\.sql$`)

// missingNouns names the files that the nouns of migrations/workspace lack in the other rooms.
func missingNouns(tree fs.FS) (missing []string, nouns int, err error) {
	entries, err := fs.ReadDir(tree, "migrations/workspace")
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range entries {
		if path.Ext(entry.Name()) != ".sql" {
			continue
		}
		m := migrationName.FindStringSubmatch(entry.Name())
		if m == nil {
			missing = append(missing, "migrations/workspace/"+entry.Name()+" is not named NNN_<noun>.sql")
			continue
		}
		nouns++
		for _, room := range nounRooms {
			name := room + "/" + m[1] + ".go"
			_, err := fs.Stat(tree, name)
			switch without := slices.Contains(strings.Fields(excused[m[1]].rooms), room); {
			case err != nil && !without:
				missing = append(missing, fmt.Sprintf("migrations/workspace/%s, but no %s", entry.Name(), name))
			case err == nil && without:
				missing = append(missing, name+" is there, so the excuse of its noun is out of date")
			}
		}
	}
	return missing, nouns, nil
}

func TestSameNounSameFileName(t *testing.T) {
	missing, nouns, err := missingNouns(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if nouns == 0 {
		t.Error("no noun found in migrations/workspace")
	}
	for _, m := range missing {
		t.Error(m)
	}
}

func TestSameNounSameFileNameFinds(t *testing.T) {
	tree := fstest.MapFS{
		"migrations/workspace/001_task.sql": {}, "migrations/workspace/4-tag.sql": {}, "migrations/workspace/readme.md": {},
		"domain/task.go": {}, "commands/task.go": {}, "http/task.go": {}, "projections/tasks.go": {},
		"migrations/workspace/003_log.sql": {}, "domain/log.go": {}, "http/log.go": {},
	}
	missing, nouns, err := missingNouns(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"migrations/workspace/001_task.sql, but no projections/task.go",
		"http/log.go is there, so the excuse of its noun is out of date",
		"migrations/workspace/4-tag.sql is not named NNN_<noun>.sql",
	}
	if nouns != 2 || !slices.Equal(missing, want) {
		t.Errorf("found %d nouns and %q, expected 2 and %q", nouns, missing, want)
	}
}

// fixedRooms are there from the start; the others as soon as they have Go files.
var fixedRooms = []string{"domain", "commands", "projections", "eventstore", "http", "cmd/kluis", "migrations"}

// The packages of internal/ are no rooms: a package comment in any of their files will do, and the linter asks for it.
func TestEachRoomHasDoc(t *testing.T) {
	files, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, room := range fixedRooms {
		want[room] = true
	}
	for _, f := range files {
		if f.room() != "." && f.room() != "internal" && !f.test() {
			want[path.Dir(f.path)] = true
		}
	}
	for dir := range want {
		if _, err := os.Stat(dir + "/doc.go"); err != nil {
			t.Errorf("%s has no doc.go", dir)
		}
	}
}
