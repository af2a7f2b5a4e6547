package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// tool is a program of Postgres.
func tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Skipf("there is no %s on this machine", name)
	}
	return found[len(found)-1]
}

// dump runs pg_dump on a database.
func dump(t *testing.T, url string, flags ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, "pg_dump"), append(flags, url)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, problems.String())
	}
	return out
}

// psql runs a dump as psql does by default: it goes on after the errors of a server without our roles.
func psql(t *testing.T, url string, dump []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, "psql"), "-qX", url)
	cmd.Stdin = bytes.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
}

// elsewhere is a fresh server, of the version that npm has where that can be had, and an empty database on it with the two logins.
func elsewhere(t *testing.T) *pgserver.Server {
	t.Helper()
	programs, err := pgserver.Fetch(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Logf("restored into a server of the same version, since there is no other: %v", err)
	}
	server, err := pgserver.Start(t.Context(), filepath.Join(pgtest.TempDir(t), "pg"), pgserver.Options{Binaries: programs, Unwatched: true,
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateDatabase(t.Context(), "kluis"); err != nil {
		t.Fatal(err)
	}
	return server
}

const login = `{"workspace": "acme", "email": "ann@acme.example", "password": "` + plain + `"}`

// A dump works in a new server, of another version and without any role of ours: kluis restored makes the roles, gives everything to the owner, and ends the
// sessions and tokens of the backup. The log is complete, and an old follower learns that it is another one. Two logins serve it.
func TestDumpRestoreAlive(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "other")
	kept := ann.task(t, "kept")
	api := ann.want(t, http.StatusCreated, "POST", "/api/tokens", `{"name": "script", "expires_at": "`+time.Now().AddDate(0, 1, 0).UTC().Format(time.RFC3339)+`"}`)
	var token struct{ Token string }
	decode(t, api.body, &token)
	before := ann.want(t, http.StatusOK, "GET", "/api/audit/replay", "")
	s.stop(t)

	server := elsewhere(t)
	psql(t, server.SuperuserURL("kluis"), dump(t, h.superuserURL(t)))
	there := h.on(server)
	out := there.must(t, "restored")
	for _, want := range []string{"acme ", "other ", "2 workspaces: ended 2 sessions, 1 API tokens"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if out := there.must(t, "rebuild", "--check"); !strings.Contains(out, "2 workspaces: every read model follows from the log") {
		t.Error(out)
	}
	s = there.serve(t)
	ann = ann.at(s)
	ann.want(t, http.StatusUnauthorized, "GET", "/api/me", "")
	(&client{token: token.Token}).at(s).want(t, http.StatusUnauthorized, "GET", "/api/me", "")
	var in struct{ Token string }
	decode(t, ann.want(t, http.StatusOK, "POST", "/api/login", login).body, &in)
	ann.token = in.Token
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	ann.task(t, "new")
	s.signUp(t, "third") // the second login makes it
	after := ann.want(t, http.StatusOK, "GET", "/api/audit/replay?epoch=2", "")
	if !bytes.HasPrefix(after.body, before.body) || !bytes.Contains(after.body, []byte("workspace.restored")) || after.header.Get("Kluis-Epoch") != "2" {
		t.Errorf("the log is not the one of before, and more: epoch %s\n%s", after.header.Get("Kluis-Epoch"), after.body)
	}
	if r := ann.want(t, http.StatusConflict, "GET", "/api/audit/replay?epoch=1&from=3", ""); !strings.Contains(string(r.body), "log_restored") {
		t.Errorf("%s", r.body)
	}
}

// One workspace of a backup is put back alone, while its neighbours are in use: what ended since does not live again there, and a member who was erased
// since is erased again.
func TestRestoreOneWorkspace(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann, bob := s.signUp(t, "acme"), s.signUp(t, "other")
	kept := ann.task(t, "kept")
	var cas struct{ ID string }
	decode(t, ann.answers(t, "POST", "/api/members", `{"email": "cas@example.org", "full_name": "Cas", "role": "member"}`), &cas)
	name := schema(t, h.superuser(t), "acme")
	backup := dump(t, h.superuserURL(t), "--schema="+name)
	lost := ann.task(t, "lost")
	ann.want(t, http.StatusOK, "POST", "/api/members/"+cas.ID+"/erase", "")
	ann.want(t, http.StatusNoContent, "POST", "/api/logout", "")

	h.must(t, "workspace", "close", "acme")
	if _, err := h.superuser(t).Exec(t.Context(), `drop schema `+name+` cascade`); err != nil {
		t.Fatal(err)
	}
	psql(t, h.superuserURL(t), backup)
	if out := h.must(t, "restored", "acme"); !strings.Contains(out, "acme: ended 1 sessions, 0 API tokens, 1 codes") {
		t.Errorf("%s", out)
	}
	bob.task(t, "undisturbed")
	h.must(t, "workspace", "open", "acme")
	ann.want(t, http.StatusUnauthorized, "GET", "/api/me", "")
	var in struct{ Token string }
	decode(t, ann.answers(t, "POST", "/api/login", login), &in)
	ann.token = in.Token
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	ann.want(t, http.StatusNotFound, "GET", "/api/tasks/"+lost, "")
	ann.task(t, "new")
	if members := string(ann.answers(t, "GET", "/api/members", "")); strings.Contains(members, "cas@example.org") {
		t.Errorf("who was erased is back: %s", members)
	}
	if r := ann.want(t, http.StatusConflict, "GET", "/api/audit/replay?epoch=1&from=3", ""); !strings.Contains(string(r.body), "log_restored") {
		t.Errorf("%s", r.body)
	}
	if titles := h.titles(t, "acme"); titles["kept"] != 1 || titles["new"] != 1 || titles["lost"] != 0 {
		t.Errorf("%v", titles)
	}
	bob.task(t, "undisturbed again")
	if status, _, stderr := h.run("restored", "nobody"); status != failure || !strings.Contains(stderr, "no such workspace") {
		t.Errorf("%d %s", status, stderr)
	}
}

// A closed workspace is served by no process from the next request on, whatever connection has served it before. Its neighbours go on, and so does the
// workspace when it is opened again.
func TestClosed(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	one, two := h.serve(t), h.serve(t)
	ann, bob := one.signUp(t, "acme"), one.signUp(t, "other")
	kept := ann.task(t, "kept")
	ann.at(two).want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	h.must(t, "workspace", "close", "acme")
	for _, s := range []*server{one, two} {
		for _, ask := range [][3]string{{"GET", "/api/tasks/" + kept, ""}, {"POST", "/api/tasks", `{"title": "no"}`}, {"GET", "/api/audit/replay", ""}, {"POST", "/api/login", login}} {
			r := ann.at(s).want(t, http.StatusServiceUnavailable, ask[0], ask[1], ask[2])
			if !strings.Contains(string(r.body), "workspace_closed") || r.header.Get("Retry-After") == "" {
				t.Errorf("%v: %s %v", ask, r.body, r.header)
			}
		}
		bob.at(s).task(t, "undisturbed")
	}
	if out := h.must(t, "workspace", "list"); !strings.Contains(out, "closed") {
		t.Error(out)
	}
	h.must(t, "migrate") // a start does not open it
	ann.want(t, http.StatusServiceUnavailable, "GET", "/api/me", "")
	if status, _, stderr := h.run("workspace", "close", "acme"); status != failure || !strings.Contains(stderr, "closed") {
		t.Errorf("closed twice: %d %s", status, stderr)
	}
	h.must(t, "workspace", "open", "acme")
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	ann.task(t, "yes")
}
