package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// killedWhen kills a server as soon as a condition holds, or after a while, and starts another one, which does not wait for the leases of the first.
func (h *home) killedWhen(t *testing.T, s *server, admin *pgx.Conn, is func() bool) *server {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !is() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	s.kill()
	if _, err := admin.Exec(t.Context(), `update kluis.queue set leased_until = '-infinity'`); err != nil {
		t.Fatal(err)
	}
	return h.serve(t)
}

// A server that is killed at any moment of an export finishes the export after its next start: once, complete, and with nothing left over.
func TestKilledWhileItExports(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	for n := range 20 {
		ann.attach(t, fmt.Sprint("file ", n))
	}
	id, _ := ann.me(t)
	admin := h.superuser(t)
	blobs := filepath.Join(h.data, "blobs")
	var ids []string
	for moment, is := range map[string]func(x string) bool{
		"asked for": func(string) bool { return true },
		"queued":    func(string) bool { return rowCount(t, admin, `select count(*)::int from kluis.queue`) > 0 },
		"being made": func(string) bool {
			begun, _ := filepath.Glob(filepath.Join(blobs, ".unfinished", id+".*"))
			return len(begun) > 0
		},
		"made": func(x string) bool { _, err := os.Stat(filepath.Join(blobs, id, "export-"+x)); return err == nil },
	} {
		var x struct{ ID, Status string }
		decode(t, ann.at(s).want(t, http.StatusAccepted, "POST", "/api/export", "{}").body, &x)
		s = h.killedWhen(t, s, admin, func() bool { return is(x.ID) })
		until(t, "the export that was killed when it was "+moment+" is done", func() bool {
			decode(t, ann.at(s).want(t, http.StatusOK, "GET", "/api/export/"+x.ID, "").body, &x)
			return x.Status == "done"
		})
		file := filepath.Join(t.TempDir(), "export.zip")
		if err := os.WriteFile(file, ann.at(s).want(t, http.StatusOK, "GET", "/api/export/"+x.ID+"/content", "").body, 0o600); err != nil {
			t.Fatal(err)
		}
		h.must(t, "import", "--verify-only", file)
		ids = append(ids, x.ID)
	}
	until(t, "the queue is empty", func() bool { return rowCount(t, admin, `select count(*)::int from kluis.queue`) == 0 })
	events := schema(t, admin, "acme") + ".event"
	for _, id := range ids {
		if n := rowCount(t, admin, `select count(*)::int from `+events+` where type = 'export.finished' and data ->> 'export_id' = $1`, id); n != 1 {
			t.Errorf("the log tells %d times that the export is done", n)
		}
	}
	files, err := filepath.Glob(filepath.Join(blobs, id, "export-*"))
	if err != nil || len(files) != len(ids) {
		t.Errorf("%d exports have the files %v, %v", len(ids), files, err)
	}
	h.titles(t, "acme")
}

// A server that is killed during a sign-up has made the whole workspace, or nothing; then the same code still makes it.
func TestKilledWhileSomebodySignsUp(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	admin := h.superuser(t)
	const making = `select count(*)::int from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()) and mode = 'ExclusiveLock'`
	for n, is := range []func(slug string) bool{
		func(string) bool { return rowCount(t, admin, making) > 0 },
		func(slug string) bool {
			return rowCount(t, admin, `select count(*)::int from kluis.workspace where slug = $1`, slug) > 0
		},
	} {
		slug := fmt.Sprint("acme-", n)
		address := "ann@" + slug + ".example"
		c := (&client{}).at(s)
		var signup struct {
			SignupID string `json:"signup_id"`
		}
		decode(t, c.want(t, http.StatusAccepted, "POST", "/api/signup", fmt.Sprintf(
			`{"workspace": {"slug": %q, "name": "Works"}, "email": %q, "full_name": "Ann", "password": %q}`, slug, address, plain)).body, &signup)
		code := fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, s.mailed(t, address))
		answered := make(chan reply, 1)
		go func() {
			r, _ := c.do("POST", "/api/signup/verify", code) // an answer that is lost is one of status 0
			answered <- r
		}()
		s = h.killedWhen(t, s, admin, func() bool { return is(slug) })
		first := <-answered
		made := rowCount(t, admin, `select count(*)::int from kluis.workspace where slug = $1`, slug) == 1
		if first.status == http.StatusCreated && !made {
			t.Errorf("it was acknowledged, and is not there")
		}
		again, err := (&client{}).at(s).do("POST", "/api/signup/verify", code)
		if err != nil || made == (again.status == http.StatusCreated) || again.status >= 500 {
			t.Errorf("it is made: %t, and the code once more: %d %s, %v", made, again.status, again.body, err)
		}
		in := (&client{}).at(s)
		var admitted struct{ Token string }
		decode(t, in.want(t, http.StatusOK, "POST", "/api/login", fmt.Sprintf(`{"workspace": %q, "email": %q, "password": %q}`, slug, address, plain)).body, &admitted)
		in.token = admitted.Token
		in.task(t, "as anywhere")
		h.must(t, "rebuild", "--check", slug)
	}
	if n := rowCount(t, admin, `select count(*)::int from pg_namespace where nspname ~ '^ws_[0-9a-f]{32}$'`); n != 2 {
		t.Errorf("%d schemas of 2 workspaces", n)
	}
	if n := rowCount(t, admin, `select count(*)::int from kluis.signup`); n != 0 {
		t.Errorf("%d sign-ups are left", n)
	}
}
