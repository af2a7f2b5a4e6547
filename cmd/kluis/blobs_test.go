package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// A start reports a store of files that cannot be reached, and everything else works. But that store has the ledger of erasures, too, so no workspace of a
// database that may have been put back is served.
func TestBlobsCannotBeReached(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	h := sharedHome(t, url)
	h.env = append(h.env, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=verysecret", "KLUIS_BLOB_URL=s3://blobs?region=x&endpoint=http://"+toolbox.FreeAddress(t))
	s := h.serve(t)
	if !strings.Contains(s.log.String(), "KLUIS_BLOB_URL cannot be reached") || strings.Contains(s.log.String(), "verysecret") {
		t.Errorf("%s", s.log)
	}
	ann := s.signUp(t, "acme")
	ann.want(t, http.StatusOK, "GET", "/api/tasks", "")
	s.stop(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		_, err = conn.Exec(t.Context(), `update kluis.workspace set heeded = 'another database'`)
		_ = conn.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if a := ann.at(h.serve(t)).want(t, http.StatusServiceUnavailable, "GET", "/api/tasks", ""); !strings.Contains(string(a.body), "erasures_unavailable") {
		t.Errorf("%s", a.body)
	}
}

// Without a setting, files are in the data folder, where no other user can read them.
func TestBlobsInTheDataFolder(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	h.serve(t)
	info, err := os.Stat(filepath.Join(h.data, "blobs"))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
}
