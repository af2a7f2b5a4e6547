package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A place of files that cannot be reached is told at the start, and keeps nobody from all else.
func TestBlobsCannotBeReached(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=verysecret", "KLUIS_BLOB_URL=s3://blobs?region=x&endpoint=http://"+freeAddress(t))
	s := h.serve(t)
	if !strings.Contains(s.log.String(), "KLUIS_BLOB_URL cannot be reached") || strings.Contains(s.log.String(), "verysecret") {
		t.Errorf("%s", s.log)
	}
	s.signUp(t, "acme").want(t, http.StatusOK, "GET", "/api/tasks", "")
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
