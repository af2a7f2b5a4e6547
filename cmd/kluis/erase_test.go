package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// killedBehindAStep erases a workspace, and kills the process after its first step. It tells whether the erasure came to its end. A process that meets a
// transaction of the one before, which Postgres may still run, fails without a step.
func (h *home) killedBehindAStep(t *testing.T, slug string) (step, said string, done bool) {
	t.Helper()
	said, _ = h.hear(t, []string{"workspace", "erase", "--now", "--confirm", slug, slug}, func(p *os.Process, line string) { // it is killed, or not
		if _, name, is := strings.Cut(line, "erasing "+slug+": "); is && step == "" {
			step = name
			_ = p.Kill()
		}
	})
	if step == "" {
		status, _, _ := h.run("workspace", "certificate", slug)
		return step, said, status == success
	}
	return step, said, step == "done"
}

// A process that erases a workspace is killed after each step, and the next one goes on from there. The certificate has the counts, the slug is not given
// again, and a former member is as unknown as any stranger.
func TestEraseKilledAtEachStep(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	h := sharedHome(t, url)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	ann.task(t, "theirs")
	other := s.signUp(t, "other")
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, ann.want(t, http.StatusOK, "GET", "/api/audit/verifier-keys", "").body, 0o600); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	for _, args := range [][]string{{"acme"}, {"--confirm", "another", "acme"}} {
		if status, _, stderr := h.run(append([]string{"workspace", "erase", "--now"}, args...)...); status != misuse || !strings.Contains(stderr, "--confirm acme") {
			t.Errorf("unconfirmed: %d %s", status, stderr)
		}
	}
	var steps []string
	end := time.Now().Add(patience)
	for done := false; !done; {
		step, said, ended := h.killedBehindAStep(t, "acme")
		if done = ended; done && step == "" {
			step = "done" // the kill behind the step before came when all was done
		}
		if step != "" {
			steps = append(steps, step)
		}
		if time.Now().After(end) {
			t.Fatalf("it comes to no end behind %v:\n%s", steps, said)
		}
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil { // time passes
			_, err = conn.Exec(t.Context(), `update kluis.erasure set leased_until = '-infinity'`)
			_ = conn.Close(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// A kill may come a step late, and then the next process goes on behind that one.
	left := strings.Fields("closed counted ledgered forgotten keys control blobs analysts schema role done")
	for _, step := range steps {
		at := slices.Index(left, step)
		if at < 0 {
			t.Fatalf("it was killed behind %s: a step came twice, or not in its order", strings.Join(steps, " "))
		}
		left = left[at+1:]
	}
	if len(left) > 0 || len(steps) < 4 {
		t.Errorf("it was killed behind %s", strings.Join(steps, " "))
	}
	certificate := h.must(t, "workspace", "certificate", "acme")
	for _, want := range []string{"slug acme\n", "log-root ", "rows-task 1\n", "erased-at "} {
		if !strings.Contains(certificate, want) {
			t.Errorf("the certificate lacks %q:\n%s", want, certificate)
		}
	}
	h.checkCertificate(t, certificate, keys)
	if out := h.must(t, "workspace", "list"); strings.Contains(out, "acme") || !strings.Contains(out, "other") {
		t.Error(out)
	}
	h.must(t, "verify")
	h.must(t, "backup", filepath.Join(t.TempDir(), "backup"))
	s = h.serve(t)
	ann.at(s).want(t, http.StatusUnauthorized, "GET", "/api/tasks", "")
	ann.at(s).want(t, http.StatusUnauthorized, "POST", "/api/login", login)
	other.at(s).task(t, "goes on")
	taken := `{"workspace": {"slug": "acme", "name": "Acme"}, "email": "eve@example.org", "full_name": "Eve", "password": "twelve blue bicycles"}`
	other.at(s).want(t, http.StatusConflict, "POST", "/api/signup", taken)
}

// A workspace that was erased after a backup is erased again when the backup is put back, because the ledger is with the files, not in the database.
func TestRestoredIsErasedAgain(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "other").task(t, "theirs")
	var bob struct{ ID string }
	decode(t, ann.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "bob@example.org", "full_name": "Bob", "role": "member"}`).body, &bob)
	folder := filepath.Join(t.TempDir(), "backup")
	h.must(t, "backup", folder)
	ann.want(t, http.StatusOK, "POST", "/api/members/"+bob.ID+"/erase", "")
	s.stop(t)
	h.must(t, "workspace", "erase", "--now", "--confirm", "other", "other")

	there := h.there(t, elsewhere(t))
	there.env = append(there.env, "KLUIS_BLOB_URL=file://"+filepath.Join(h.data, "blobs"))
	if out := there.must(t, "restore", folder); !strings.Contains(out, "1 workspaces that were erased after the backup are erased again") {
		t.Error(out)
	}
	if out := there.must(t, "workspace", "list"); strings.Contains(out, "other") {
		t.Error(out)
	}
	there.must(t, "workspace", "certificate", "other")
	s = there.serve(t)
	ann = ann.at(s)
	var in struct{ Token string }
	decode(t, ann.want(t, http.StatusOK, "POST", "/api/login", login).body, &in)
	ann.token = in.Token
	if body := string(ann.want(t, http.StatusOK, "GET", "/api/audit/events?limit=200", "").body); strings.Contains(body, "bob@example.org") || !strings.Contains(body, "member.erased") {
		t.Error(body)
	}
	ann.want(t, http.StatusNotFound, "GET", fmt.Sprintf("/api/members/%s", bob.ID), "")
	there.must(t, "rebuild", "--check")
}

// A server does an erasure at the end of the grace, unless it is cancelled.
func TestEraseLater(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme")
	if out := h.must(t, "workspace", "erase", "--confirm", "acme", "acme"); !strings.Contains(out, "acme is erased at ") {
		t.Error(out)
	}
	if out := h.must(t, "workspace", "erase", "--cancel", "acme"); !strings.Contains(out, "acme is kept") {
		t.Error(out)
	}
	h.env = append(h.env, "KLUIS_ERASURE_GRACE=100ms")
	h.must(t, "workspace", "erase", "--confirm", "acme", "acme")
	until(t, "the server has erased the workspace", func() bool {
		status, _, _ := h.run("workspace", "certificate", "acme")
		return status == success
	})
	h.env = append(h.env[:len(h.env)-1], "KLUIS_ERASURE_GRACE=0s")
	if status, _, stderr := h.run("workspace", "erase", "--confirm", "acme", "acme"); status != misuse || !strings.Contains(stderr, "KLUIS_ERASURE_GRACE") {
		t.Errorf("%d %s", status, stderr)
	}
}

// checkCertificate checks a certificate with kept verifier keys: unchanged, with one changed line, and without keys.
func (h *home) checkCertificate(t *testing.T, certificate, keys string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "certificate")
	for name, c := range map[string]struct {
		text   string
		args   []string
		status int
		says   string
	}{
		"as it is": {certificate, []string{"--key", keys}, 0, "signed by a key that you kept"},
		"changed":  {strings.Replace(certificate, "rows-task 1", "rows-task 0", 1), []string{"--key", keys}, failure, "no known key has signed"},
		"no keys":  {certificate, nil, misuse, "--key"},
		"and more": {certificate, []string{"--key", keys, "other"}, misuse, "by itself"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, stdout, stderr := h.run(append([]string{"verify", "--certificate", file}, c.args...)...); status != c.status || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%s: status %d, %s%s", name, status, stdout, stderr)
		}
	}
}
