package pgserver

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The environment variables that make this test program another kluis process, see otherProcess.
const (
	helperFolder   = "KLUIS_PGSERVER_TEST_FOLDER"
	helperBinaries = "KLUIS_PGSERVER_TEST_BINARIES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperFolder); dir != "" {
		beOtherProcess(dir)
	}
	code := m.Run()
	if base.dir != "" {
		os.RemoveAll(base.dir)
	}
	os.Exit(code)
}

// fast is for tests of what a kill does, which the page cache survives: nothing here pulls the plug.
var fast = map[string]string{"fsync": "off", "shared_buffers": "16MB"}

// start starts a server for one test, which stops it.
func start(t *testing.T, dir string, opts Options) *Server {
	t.Helper()
	s, err := tryStart(t, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func tryStart(t *testing.T, dir string, opts Options) (*Server, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if opts.Settings == nil {
		opts.Settings = fast
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return Start(ctx, dir, opts)
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// openTempFolder is a folder that Postgres' user can walk to; t.TempDir is closed to others.
func openTempFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kluis-pgserver-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// base is a stopped cluster that tests copy: a copy is cheaper than an initdb each.
var base struct {
	sync.Once
	dir string
	err error
}

// copied is a folder with a cluster of its own, stopped.
func copied(t *testing.T) string {
	t.Helper()
	base.Do(func() {
		if base.dir, base.err = os.MkdirTemp("", "kluis-pgserver-test-"); base.err != nil {
			return
		}
		s, err := Start(t.Context(), filepath.Join(base.dir, "pg"), Options{Settings: fast})
		if err == nil {
			err = s.Stop(t.Context())
		}
		base.err = err
	})
	if base.err != nil {
		t.Fatal(base.err)
	}
	dir := filepath.Join(openTempFolder(t), "pg")
	if out, err := exec.Command("cp", "-a", filepath.Join(base.dir, "pg"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// beOtherProcess is a kluis process in short: it starts the server and lives until it is killed.
func beOtherProcess(dir string) {
	s, err := Start(context.Background(), dir, Options{Settings: fast, Binaries: os.Getenv(helperBinaries), Unwatched: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready", s.SuperuserURL("postgres"))
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is the sign to stop
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// other is a second process that uses a server.
type other struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	end   func() error // lets it stop in good order
}

func otherProcess(t *testing.T, dir, binaries string) *other {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), helperFolder+"="+dir, helperBinaries+"="+binaries)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &other{cmd: cmd, lines: bufio.NewScanner(out)}
	o.end = func() error { in.Close(); return cmd.Wait() }
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return o
}

// ready waits until the other process has started or adopted the server.
func (o *other) ready(t *testing.T) (superuserURL string) {
	t.Helper()
	if !o.lines.Scan() {
		t.Fatalf("the other process ended: %v", o.lines.Err())
	}
	url, ok := strings.CutPrefix(o.lines.Text(), "ready ")
	if !ok {
		t.Fatal(o.lines.Text())
	}
	return url
}

// kill is kill -9.
func (o *other) kill(t *testing.T) {
	t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = o.cmd.Wait() // it says that it was killed
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func ask[T any](t *testing.T, url, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var answer T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	conn.Close(t.Context())
}

// pidOf is the postmaster of a folder.
func pidOf(t *testing.T, dir string) int {
	t.Helper()
	p, err := readPidfile(folder(dir).cluster())
	if err != nil {
		t.Fatal(err)
	}
	return p.pid
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil && commandLine(pid) != "" }

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not, after 20s: %s", what)
		}
	}
}
