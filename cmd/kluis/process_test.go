package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// binary is the program itself, built once, beside the test program: `go test` deletes both.
var binary string

func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err == nil {
		binary = filepath.Join(filepath.Dir(self), "kluis.built")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, ".") // links in half the time
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build kluis:", err)
		os.Exit(1)
	}
	pgtest.Main(m)
}

// home is the data folder of a kluis, and its settings.
type home struct {
	data    string
	env     []string
	program string // another build than the one that is tested
	super   string // the URL of the superuser, where that is not the tests' own server's
}

// with gives the same home for another build.
func (h *home) with(program string) *home { return &home{data: h.data, env: h.env, program: program} }

// unlimited turns all limits off. cheap makes passwords cheap for tests with many accounts: by default a hash takes a sixth of a second.
const (
	unlimited = "KLUIS_LIMITS=signup_ip=off,signup_domain=off,login_ip=off,login_account=off,api_member=off"
	cheap     = "KLUIS_ARGON2=m=19456,t=2,p=1"
)

// patience is how long a test waits for something that must come. A busy machine may be slow, so a longer wait is a hang.
const patience = 3 * time.Minute

// privateHome has its own Postgres, which is stopped when the test ends.
func privateHome(t *testing.T) *home {
	t.Helper()
	h := &home{data: filepath.Join(pgtest.TempDir(t), "data"), env: []string{unlimited, cheap}}
	t.Cleanup(func() { // its last user stops it
		if _, err := os.Stat(filepath.Join(h.data, "postgres", "cluster")); err == nil {
			if status, _, stderr := h.run("migrate", "status"); status != success {
				t.Errorf("stop the private Postgres: %d, %s", status, stderr)
			}
		}
	})
	return h
}

// sharedHome uses a database of the tests' server. Several of one database share their keys.
func sharedHome(t testing.TB, url string) *home {
	t.Helper()
	h := keysAlone(t)
	h.env = []string{unlimited, cheap, "KLUIS_DATABASE_URL=" + url}
	return h
}

// on is the same installation with the database of another server, and both its logins.
func (h *home) on(server *pgserver.Server) *home {
	return &home{data: h.data, super: server.SuperuserURL("kluis"), env: []string{unlimited, cheap, "KLUIS_KEYS=" + filepath.Join(h.data, "keys"),
		"KLUIS_DATABASE_URL=" + server.URL("kluis"), "KLUIS_OWNER_URL=" + server.AdminURL("kluis"), "KLUIS_SET_CONFIG=closed"}}
}

// keysAlone is a home that has keys, and no database yet.
func keysAlone(t testing.TB) *home {
	t.Helper()
	h := &home{data: filepath.Join(t.TempDir(), "data")}
	if err := os.MkdirAll(h.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := keyring.Create(filepath.Join(h.data, "keys")); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(h.program, binary), args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KLUIS_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(append(cmd.Env, "GOGC=400", "KLUIS_DATA="+h.data), h.env...) // the collector as in pgtest: most processes live for a moment
	return cmd
}

// run runs a command to its end.
func (h *home) run(args ...string) (status int, stdout, stderr string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, out.String(), problems.String() + err.Error()
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// must runs a command that succeeds, and gives what it printed.
func (h *home) must(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := h.run(args...)
	if status != success {
		t.Fatalf("kluis %s: status %d: %s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

// hear runs a command to its end, and calls a function with each line of its output as it comes. It gives all lines, and the exit status.
func (h *home) hear(t *testing.T, args []string, each func(p *os.Process, line string)) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		each(cmd.Process, lines.Text())
	}
	return all.String(), cmd.Wait()
}

// killAt runs a command, and kills it when it prints a text.
func (h *home) killAt(t *testing.T, step string, args ...string) {
	t.Helper()
	said, _ := h.hear(t, args, func(p *os.Process, line string) { // it is killed, or ends at the same moment
		if strings.HasPrefix(line, step) {
			_ = p.Kill()
		}
	})
	if !strings.Contains("\n"+said, "\n"+step) {
		t.Errorf("it never said %q:\n%s", step, said)
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// safeBuffer is a buffer that goroutines write and read at once.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// record is a line of the log.
type record struct {
	Position int64
	Stream   string
	Version  int
	Type     string
	Data     struct{ Title string }
}

// log reads the log of a workspace with `kluis replay`, and checks that count = max(position) = head, and that positions and versions have no gaps. It
// gives how often each title was created.
func (h *home) titles(t *testing.T, slug string) map[string]int {
	t.Helper()
	titles, versions := map[string]int{}, map[string]int{}
	var count int64
	lines := bufio.NewScanner(strings.NewReader(h.must(t, "replay", slug)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		decode(t, lines.Bytes(), &r)
		count++
		versions[r.Stream]++
		if r.Position != count || r.Version != versions[r.Stream] {
			t.Fatalf("line %d has position %d, version %d of %s, want version %d", count, r.Position, r.Version, r.Stream, versions[r.Stream])
		}
		if r.Type == "task.created" {
			titles[r.Data.Title]++
		}
	}
	admin := h.superuser(t)
	var events, last, head int64
	s := schema(t, admin, slug)
	if err := admin.QueryRow(t.Context(), `select (select count(*) from `+s+`.event), (select max(position) from `+s+`.event), (select position from `+s+`.head)`).
		Scan(&events, &last, &head); err != nil {
		t.Fatal(err)
	}
	if events != last || last != head || count != head {
		t.Errorf("%d events, the last position %d, head %d, %d replayed", events, last, head, count)
	}
	return titles
}
