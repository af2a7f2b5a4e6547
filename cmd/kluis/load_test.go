package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// exported gives the file of a new export.
func (c *client) exported(t *testing.T) []byte {
	t.Helper()
	var x struct{ ID, Status string }
	decode(t, c.want(t, http.StatusAccepted, "POST", "/api/export", "{}").body, &x)
	until(t, "the export is done", func() bool {
		decode(t, c.want(t, http.StatusOK, "GET", "/api/export/"+x.ID, "").body, &x)
		return x.Status == "done"
	})
	return c.want(t, http.StatusOK, "GET", "/api/export/"+x.ID+"/content", "").body
}

// kluis import is killed after each of its steps, and once it finds no room for the files. The same command then goes on, and makes one workspace with all
// files. Nothing is left over.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	file := ann.attach(t, "a plan")
	archive := filepath.Join(t.TempDir(), "acme.zip")
	if err := os.WriteFile(archive, ann.exported(t), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := h.must(t, "import", archive, "--as", "at-once")

	h.killAt(t, "loading again: log", "import", archive, "--as", "again")
	h.killAt(t, "loading again: files", "import", archive, "--as", "again")
	blobs := filepath.Join(h.data, "blobs", ".unfinished")
	if err := os.Rename(blobs, blobs+".away"); err != nil { // there is no room where files are begun
		t.Fatal(err)
	}
	if err := os.WriteFile(blobs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := h.run("import", archive, "--as", "no-room"); status != failure || strings.Contains(stdout, "workspace no-room (") {
		t.Errorf("without room: %d, %s%s", status, stdout, stderr)
	}
	if err := os.Remove(blobs); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(blobs+".away", blobs); err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"again", "no-room"} {
		said := h.must(t, "import", archive, "--as", slug)
		_, got, _ := strings.Cut(said, "): ")
		if _, want, _ := strings.Cut(whole, "): "); got != want || got == "" {
			t.Errorf("it said %q, and at once %q", got, want)
		}
		h.must(t, "verify", slug)
		h.must(t, "rebuild", "--check", slug)
		forgotten := (&client{}).at(s)
		forgotten.want(t, http.StatusAccepted, "POST", "/api/password/forgot", `{"workspace": "`+slug+`", "email": "ann@acme.example"}`)
	}
	if status, _, stderr := h.run("import", archive, "--as", "acme"); status != failure || !strings.Contains(stderr, "there is, or was, a workspace acme") {
		t.Errorf("over another workspace: %d, %s", status, stderr)
	}
	admin := h.superuser(t)
	if n := rowCount(t, admin, `select count(*)::int from kluis.workspace`); n != 4 {
		t.Errorf("%d workspaces, and 4 were made", n)
	}
	_, id, _ := strings.Cut(strings.TrimSuffix(file, "/content"), "/api/attachments/")
	for _, slug := range []string{"acme", "at-once", "again", "no-room"} {
		var workspace string
		if err := admin.QueryRow(t.Context(), `select id::text from kluis.workspace where slug = $1`, slug).Scan(&workspace); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(h.data, "blobs", workspace, id)); err != nil {
			t.Errorf("%s has no file: %v", slug, err)
		}
	}
	folders, err := filepath.Glob(filepath.Join(h.data, "blobs", "*-*-*-*-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := filepath.Base(folder); !strings.HasPrefix(name, "checkpoints-") && rowCount(t, admin, `select count(*)::int from kluis.workspace where id::text = $1`, name) != 1 {
			t.Errorf("files of no workspace are left in %s", name)
		}
	}
}
