package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A place of files that cannot be reached is told at the start. The ledger of erasures is there as well, so a process that never read it
// serves no workspace: the database may be an older one that was put back.
func TestBlobsCannotBeReached(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	before := h.serve(t)
	ann := before.signUp(t, "acme")
	before.stop(t)
	h.env = append(h.env, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=verysecret", "KLUIS_BLOB_URL=s3://blobs?region=x&endpoint=http://"+freeAddress(t))
	s := h.serve(t)
	if !strings.Contains(s.log.String(), "KLUIS_BLOB_URL cannot be reached") || strings.Contains(s.log.String(), "verysecret") {
		t.Errorf("%s", s.log)
	}
	if a := ann.at(s).want(t, http.StatusServiceUnavailable, "GET", "/api/tasks", ""); !strings.Contains(string(a.body), "erasures_unavailable") {
		t.Errorf("%s", a.body)
	}
}

// Without a setting files are in the data folder, where nobody else reads them.
func TestBlobsInTheDataFolder(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	h.serve(t)
	info, err := os.Stat(filepath.Join(h.data, "blobs"))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
}
