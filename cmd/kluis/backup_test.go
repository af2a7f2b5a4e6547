package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// there is an installation that has only the keys of another one.
func (h *home) there(t *testing.T, server *pgserver.Server) *home {
	t.Helper()
	data := t.TempDir()
	keys, err := os.ReadFile(filepath.Join(h.data, "keys"))
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "keys"), keys, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return (&home{data: data}).on(server)
}

// A backup that is written while people work is complete. Put back on another server, it shows one moment: the log, the people, and the read models.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "other").task(t, "theirs")
	kept := ann.task(t, "kept")
	before := ann.want(t, http.StatusOK, "GET", "/api/audit/replay", "")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = ann.do("POST", "/api/tasks", `{"title": "meanwhile"}`)
			}
		}
	}()
	folder := filepath.Join(t.TempDir(), "backup")
	out := h.must(t, "backup", folder)
	close(stop)
	<-stopped
	if !strings.Contains(out, "2 workspaces") {
		t.Error(out)
	}
	s.stop(t)
	if status, _, stderr := h.run("backup", folder); status != failure || !strings.Contains(stderr, "not empty") {
		t.Errorf("over a backup: %d %s", status, stderr)
	}
	if status, _, stderr := h.run("restore", folder); status != failure || !strings.Contains(stderr, "a Kluis in this database already") {
		t.Errorf("over a Kluis: %d %s", status, stderr)
	}

	server := elsewhere(t)
	there := h.there(t, server)
	flip := func() { // a bit of the dump, or back

		file, err := os.OpenFile(filepath.Join(folder, dumpFile), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		one := []byte{0}
		if _, err := file.ReadAt(one, 1000); err != nil {
			t.Fatal(err)
		}
		one[0] ^= 1
		if _, err := file.WriteAt(one, 1000); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	if status, _, stderr := there.run("restore", folder); status != failure || !strings.Contains(stderr, "nothing was put back") {
		t.Errorf("a damaged one: %d %s", status, stderr)
	}
	flip()
	if status, _, stderr := there.run("restore", t.TempDir()); status != failure || !strings.Contains(stderr, "no complete backup") {
		t.Errorf("none: %d %s", status, stderr)
	}
	if out := there.must(t, "restore", folder); !strings.Contains(out, "2 workspaces: ended ") || !strings.Contains(out, "is in place") {
		t.Error(out)
	}
	if out := there.must(t, "rebuild", "--check"); !strings.Contains(out, "2 workspaces: every read model follows from the log") {
		t.Error(out)
	}
	s = there.serve(t)
	ann = ann.at(s)
	var in struct{ Token string }
	decode(t, ann.want(t, http.StatusOK, "POST", "/api/login", login).body, &in)
	ann.token = in.Token
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	after := ann.want(t, http.StatusOK, "GET", "/api/audit/replay?epoch=2", "")
	if !strings.HasPrefix(string(after.body), string(before.body)) {
		t.Error("the log is another one")
	}
	s.signUp(t, "third")
}

// A private Postgres is backed up and restored like any other, with the bytes of attachments. The logins of analysts are not in a backup, and do not
// prevent one.
func TestBackupOfAPrivatePostgres(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	task := ann.task(t, "kept")
	const form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nattached\r\n--b--\r\n"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/tasks/"+task+"/attachments", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	request.Header.Set("Authorization", "Bearer "+ann.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("attach: %d", answer.StatusCode)
	}
	var added struct{ ID string }
	if err := json.NewDecoder(answer.Body).Decode(&added); err != nil {
		t.Fatal(err)
	}
	h.must(t, "analyst", "grant", "acme")
	folder := filepath.Join(t.TempDir(), "backup")
	if out := h.must(t, "backup", folder); !strings.Contains(out, "1 workspaces") || strings.Contains(out, " 0 blobs") {
		t.Error(out)
	}
	s.stop(t)

	there := privateHome(t)
	if err := os.MkdirAll(there.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := there.run("restore", folder); status != failure || !strings.Contains(stderr, "put the copy of the keys there first") {
		t.Errorf("without the keys: %d %s", status, stderr)
	}
	keys, err := os.ReadFile(filepath.Join(h.data, "keys"))
	if err == nil {
		err = os.WriteFile(filepath.Join(there.data, "keys"), keys, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	there.must(t, "restore", folder)
	s = there.serve(t)
	ann = ann.at(s)
	var in struct{ Token string }
	decode(t, ann.want(t, http.StatusOK, "POST", "/api/login", login).body, &in)
	ann.token = in.Token
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+task, "")
	if r := ann.want(t, http.StatusOK, "GET", "/api/attachments/"+added.ID+"/content", ""); string(r.body) != "attached" {
		t.Errorf("%q came back", r.body)
	}
	ann.task(t, "new")
	s.stop(t)
	there.must(t, "analyst", "grant", "acme")
}
