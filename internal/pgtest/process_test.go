package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// helperRole makes this test program another one: it takes a database, says so, and waits for the end of its input.
const helperRole = "KLUIS_PGTEST_ROLE"

func beOtherProgram(m *testing.M) int {
	program.inMain = true
	other := &others{}
	switch os.Getenv(helperRole) {
	case "database":
		fmt.Println("url", Database(other))
	case "clone":
		url := Clone(other, "slow", func(url string) error {
			fmt.Println("prepares")
			time.Sleep(300 * time.Millisecond)
			return execute(url, `create schema s`)
		})
		fmt.Println("url", url)
	case "half":
		Clone(other, "half", func(string) error {
			fmt.Println("prepares")
			time.Sleep(time.Minute)
			return nil
		})
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return run(m) // with no tests: what Main does at the end
}

// others is the least that a test can be.
type others struct{ testing.TB }

func (*others) Helper()        {}
func (*others) Cleanup(func()) {}
func (*others) Fatal(args ...any) {
	fmt.Println(args...)
	os.Exit(1)
}
func (*others) Fatalf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

type process struct {
	cmd   *osexec.Cmd
	lines *bufio.Scanner
	end   func() error
}

// start starts one in a TMPDIR of its own, so that nobody else is on its server.
func start(t *testing.T, temp, role string, env ...string) *process {
	t.Helper()
	cmd := osexec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+temp, "KLUIS_TEST_DATABASE_URL=", helperRole+"="+role), env...)
	cmd.Stderr = t.Output()
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
	p := &process{cmd: cmd, lines: bufio.NewScanner(out)}
	p.end = func() error { in.Close(); return cmd.Wait() }
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return p
}

func (p *process) next(t *testing.T) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatal("the other program has ended")
	}
	return p.lines.Text()
}

func (p *process) url(t *testing.T) string {
	t.Helper()
	line := p.next(t)
	url, ok := strings.CutPrefix(line, "url ")
	if !ok {
		t.Fatal(line)
	}
	return url
}

// tempDir is closed to others, as t.TempDir is, and short enough for a socket.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kluis-pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// look is a superuser on the server under temp, by way of the package that runs it.
func look(t *testing.T, temp string) *pgserver.Server {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(temp, "kluis-test-*", "*"))
	if len(dirs) != 1 {
		t.Fatalf("servers in %s: %v", temp, dirs)
	}
	s, err := pgserver.Start(t.Context(), dirs[0], pgserver.Options{Unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func databases(t *testing.T, admin string) []string {
	t.Helper()
	rows, _ := connect(t, admin).Query(t.Context(), `select datname::text from pg_database where starts_with(datname, $1) order by 1`, prefix)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestKilledRunIsSweptUp(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	live := start(t, temp, "database")
	liveURL := live.url(t)
	killed := start(t, temp, "database")
	killedURL := killed.url(t)
	filling := start(t, temp, "half")
	filling.next(t)
	for _, p := range []*process{killed, filling} {
		_, _ = p.cmd.Process.Kill(), p.cmd.Wait()
	}
	s := look(t, temp)
	perform(t, s.SuperuserURL("postgres"), `create role ws_of_nobody`)
	gone := database(t, killedURL)
	eventually(t, func() bool { // the server notices within moments that the killed are gone
		next := start(t, temp, "database")
		next.url(t)
		if err := next.end(); err != nil {
			t.Fatal(err)
		}
		return len(databases(t, s.SuperuserURL("postgres"))) == 1
	})
	if got := ask[int](t, liveURL, `select 1`); got != 1 {
		t.Error("the database of a live program was dropped")
	}
	if err := live.end(); err != nil {
		t.Fatal(err)
	}
	last := start(t, temp, "database") // alone
	last.url(t)
	if ask[bool](t, s.SuperuserURL("postgres"), `select exists (select from pg_roles where rolname = 'ws_of_nobody')`) {
		t.Errorf("a role of nobody is left (of %s)", gone)
	}
	if err := last.end(); err != nil {
		t.Fatal(err)
	}
	if left := databases(t, s.SuperuserURL("postgres")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTemplateOfTwoProcesses(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	all := []*process{start(t, temp, "clone"), start(t, temp, "clone"), start(t, temp, "clone")}
	prepared := 0
	for _, p := range all {
		line := p.next(t)
		if line == "prepares" {
			prepared++
			line = p.next(t)
		}
		if !strings.HasPrefix(line, "url ") {
			t.Fatal(line)
		}
	}
	if prepared != 1 {
		t.Errorf("prepared %d times", prepared)
	}
	pid := postmaster(t, temp)
	for _, p := range all {
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(pid, 0); err == nil {
		eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }) // its parent, by now process 1, reaps it
	}
}

func TestServerOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(t.Context(), filepath.Join(tempDir(t), "pg"), pgserver.Options{Unwatched: true, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	admin := "KLUIS_TEST_DATABASE_URL=" + s.SuperuserURL("postgres")
	temp := tempDir(t)
	// Its role kluis has another password: refused, and not changed.
	if line := start(t, temp, "database", admin).next(t); !strings.Contains(line, "not of these tests") {
		t.Error(line)
	}
	perform(t, s.SuperuserURL("postgres"), `drop owned by kluis; drop role kluis`)
	p := start(t, temp, "clone", admin)
	p.next(t)
	url := p.url(t)
	if got := ask[string](t, url, `select current_user::text`); got != "kluis" {
		t.Error(got)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if left := databases(t, s.SuperuserURL("postgres")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if entries, _ := os.ReadDir(temp); len(entries) != 0 {
		t.Errorf("started a server of its own: %v", entries)
	}
}

func postmaster(t *testing.T, temp string) int {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(temp, "kluis-test-*", "*", "cluster", "postmaster.pid"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(content), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not, after 20s")
		}
	}
}
