package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A base backup and the write-ahead log behind it are recovered to a moment. What came later is gone: tasks, a workspace, a rotation of keys. What was
// promised outside of the database holds: who was erased later is erased again, an ended token does not live again, and followers learn that it is another log.
func TestRecoveryToAPointInTime(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	archive := filepath.Join(dir, "archive")
	if err := os.Mkdir(archive, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(archive, 0o777); err != nil { // root's Postgres is another user
		t.Fatal(err)
	}
	p := newPrimary(t, filepath.Join(dir, "a"), "archive_mode", "on", "archive_command", "cp %p "+archive+"/%f")
	h := keysAlone(t).on(p.primary)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "ends").task(t, "theirs")
	var bob struct{ ID string }
	decode(t, ann.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "bob@example.org", "full_name": "Bob Visser", "role": "member"}`).body, &bob)
	copied := filepath.Join(dir, "b")
	p.copyTo(t, copied)
	kept := ann.task(t, "kept")
	before := ann.want(t, http.StatusOK, "GET", "/api/audit/replay", "")

	query(t, p.primary, `select pg_create_restore_point('moment')`)
	lost := ann.task(t, "lost")
	ann.want(t, http.StatusOK, "POST", "/api/members/"+bob.ID+"/erase", "")
	s.signUp(t, "later").task(t, "theirs")
	h.must(t, "keys", "new")
	h.must(t, "keys", "rotate")
	ann.want(t, http.StatusNoContent, "POST", "/api/logout", "")
	s.stop(t)
	h.must(t, "workspace", "erase", "--now", "--confirm", "ends", "ends")
	last := query(t, p.primary, `select pg_walfile_name(pg_switch_wal())`)
	until(t, "the write-ahead log is archived", func() bool {
		return query(t, p.primary, `select last_archived_wal >= '`+last+`' from pg_stat_archiver`) == "true"
	})

	if err := os.WriteFile(filepath.Join(copied, "cluster", "recovery.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	recovered := startServer(t, copied, "restore_command", "cp "+archive+"/%f %p", "recovery_target_name", "moment", "recovery_target_action", "promote")
	until(t, "the recovery has ended", func() bool { return query(t, recovered, `select pg_is_in_recovery()`) == "false" })
	h = h.on(recovered)
	if out := h.must(t, "restored"); !strings.Contains(out, "1 workspaces that were erased after the backup are erased again") {
		t.Error(out)
	}
	if out := h.must(t, "workspace", "list"); !strings.Contains(out, "acme") || strings.Contains(out, "ends") || strings.Contains(out, "later") {
		t.Error(out)
	}
	if err := os.RemoveAll(filepath.Join(h.data, "mail")); err != nil { // with the codes of before
		t.Fatal(err)
	}
	s = h.serve(t)
	ann = ann.at(s)
	ann.want(t, http.StatusUnauthorized, "GET", "/api/me", "")
	var in struct{ Token string }
	decode(t, ann.want(t, http.StatusOK, "POST", "/api/login", login).body, &in)
	ann.token = in.Token
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	ann.want(t, http.StatusNotFound, "GET", "/api/tasks/"+lost, "")
	ann.want(t, http.StatusNotFound, "GET", "/api/members/"+bob.ID, "")
	if r := ann.want(t, http.StatusConflict, "GET", "/api/audit/replay?epoch=1&from=3", ""); !strings.Contains(string(r.body), "log_restored") {
		t.Errorf("%s", r.body)
	}
	after := string(ann.want(t, http.StatusOK, "GET", "/api/audit/replay?epoch=2", "").body)
	if !strings.HasPrefix(after, string(before.body)) || strings.Contains(after, "Visser") {
		t.Errorf("it is not the log of the moment:\n%s", after)
	}
	ann.task(t, "new")
	s.signUp(t, "later").task(t, "once more")
	h.must(t, "verify")
	h.must(t, "rebuild", "--check")
	h.must(t, "keys", "rotate")
	if titles := h.titles(t, "acme"); titles["kept"] != 1 || titles["new"] != 1 || titles["lost"] != 0 {
		t.Errorf("%v", titles)
	}
}
