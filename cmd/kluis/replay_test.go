package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// looking is a waiting `kluis replay --state`.
type looking struct {
	cmd    *exec.Cmd
	enter  io.WriteCloser
	schema string
	url    string // that it says how to look with
}

var psqlLine = regexp.MustCompile(`psql '(postgres://[^']+)'`)

// lookAt starts one, and waits until it has printed how to query the state.
func (h *home) lookAt(t *testing.T, slug, until string) *looking {
	t.Helper()
	l := &looking{cmd: h.command(t.Context(), "replay", slug, "--until", until, "--state")}
	var err error
	if l.enter, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "schema" {
			l.schema = fields[1]
		}
		if found := psqlLine.FindStringSubmatch(lines.Text()); found != nil {
			l.url = found[1]
		}
		if strings.HasPrefix(lines.Text(), "The schema is dropped") {
			return l
		}
	}
	t.Fatalf("kluis replay --state says nothing: %v", l.cmd.Wait())
	return nil
}

// statesIn gives the names of the schemas and logins of states.
func statesIn(t *testing.T, admin *pgx.Conn, workspace string) []string {
	t.Helper()
	rows, _ := admin.Query(t.Context(), `select nspname::text from pg_namespace where starts_with(nspname, $1) union select rolname::text from pg_roles where starts_with(rolname, $1)`, workspace+"_state_")
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// `kluis replay --state` gives a login to the read models of a moment; nobody else reads them, the login reads nothing else, and
// nothing is left when it ends, whichever way it ends.
func TestReplayState(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "other")
	ann.task(t, "then")
	then := fmt.Sprint(ann.want(t, 201, "POST", "/api/tasks", `{"title": "then, too"}`).position(t))
	ann.task(t, "later")
	super := h.superuser(t)
	acme, other := schema(t, super, "acme"), schema(t, super, "other")
	analyst, _ := analystOf(t, h, "acme")

	l := h.lookAt(t, "acme", then)
	conn, err := pgx.Connect(t.Context(), l.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if !strings.HasPrefix(l.schema, acme+"_state_") || count(t, conn, "task") != 2 || count(t, conn, "task_view") != 2 || count(t, conn, "workspace") != 1 || count(t, conn, "member") != 1 {
		t.Errorf("the state %s is another", l.schema)
	}
	for _, sql := range []string{`select * from ` + acme + `.task`, `select * from ` + acme + `.event`, `select * from ` + acme + `_views.task_view`, `select * from ` + other + `.task`,
		`select * from kluis.workspace`, `update task set title = ''`, `set default_transaction_read_only = off; delete from task`, `create table ` + l.schema + `.mine (x int)`, `set role ` + owner(t, super), `set role ` + acme} {
		denied(t, conn, sql)
	}
	denied(t, analyst, `select * from `+l.schema+`.task`)
	denied(t, analyst, `select * from `+l.schema+`.task_view`)
	for _, role := range []string{acme, other} {
		_, err := super.Exec(t.Context(), `begin; set local role `+role+`; select * from `+l.schema+`.task`)
		if !pg.Is(err, pg.AccessDenied) {
			t.Errorf("as the role of a workspace: %v", err)
		}
		if _, err := super.Exec(t.Context(), `rollback`); err != nil {
			t.Fatal(err)
		}
	}
	if out := h.must(t, "replay", "acme", "--until", then, "--state", "--", "sh", "-c", `echo "$PGUSER $PGDATABASE $PGHOST"; exit 0`); !strings.HasPrefix(out, acme+"_state_") || strings.Count(out, "\n") != 1 {
		t.Errorf("a second one says %q", out)
	}
	if status, _, stderr := h.run("replay", "acme", "--until", then, "--state", "--", "sh", "-c", "exit 3"); status != failure || !strings.Contains(stderr, "exit status 3") {
		t.Errorf("a program that fails: %d, %s", status, stderr)
	}
	if _, checks, _ := h.run("doctor"); !strings.Contains(checks, "ok    isolation") {
		t.Error(checks)
	}
	if left := statesIn(t, super, acme); len(left) != 1 || left[0] != l.schema {
		t.Errorf("while one looks there are %v", left)
	}
	if _, err := conn.Exec(t.Context(), `begin; select * from task`); err != nil { // nobody who looks keeps it there
		t.Error(err)
	}
	if _, err := io.WriteString(l.enter, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left := statesIn(t, super, acme); len(left) > 0 {
		t.Errorf("it has ended, and left %v", left)
	}

	killed, told := h.lookAt(t, "acme", then), h.lookAt(t, "acme", "1")
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	if err := told.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := told.cmd.Wait(); err != nil {
		t.Errorf("told to end: %v", err)
	}
	until(t, "the next one drops what was left", func() bool { // once Postgres knows that the killed one is gone
		h.must(t, "replay", "acme", "--until", "1", "--state", "--", "true")
		return len(statesIn(t, super, acme)) == 0
	})
}

// A replay ends at --until. A wrong use is reported before anything is made.
func TestReplayUntil(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	ann := h.serve(t).signUp(t, "acme")
	ann.task(t, "one")
	all := strings.SplitAfter(strings.TrimSpace(h.must(t, "replay", "acme")), "\n")
	if out := h.must(t, "replay", "acme", "--until", "2"); out != all[0]+all[1] {
		t.Errorf("up to 2: %s", out)
	}
	if out := h.must(t, "replay", "acme", "--from", "2", "--until", "2"); out != all[1] {
		t.Errorf("2 alone: %s", out)
	}
	for says, args := range map[string][]string{
		"the log ends at 3": {"--until", "4"},
		"is still to come":  {"--until", "2999-01-01T00:00:00Z", "--state"},
		"there was nothing": {"--until", "1999-01-01T00:00:00+01:00", "--state", "true"},
	} {
		if status, stdout, stderr := h.run(append([]string{"replay", "acme"}, args...)...); status != failure || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("%v: %d, %s%s", args, status, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"--until", "yesterday"}, {"--until", "0"}, {"--until", "-1"}, {"--from", "3", "--until", "2"}, {"--state"}, {"--until", "2", "--state", "--from", "1"}, {"true"}} {
		if status, _, stderr := h.run(append([]string{"replay", "acme"}, args...)...); status != misuse || stderr == "" {
			t.Errorf("%v: %d, %s", args, status, stderr)
		}
	}
}
