package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// `kluis verify` accepts a live workspace and a download of it. After any change by the owner of the database, even one of the tree as well, the checkpoints
// outside of it reveal what is wrong.
func TestVerify(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "beta")
	for range 20 {
		ann.task(t, "Paint the door")
	}
	folder := t.TempDir()
	save := func(name, path string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, ann.want(t, http.StatusOK, "GET", path, "").body, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys, signed := save("keys", "/api/audit/verifier-keys"), save("signed", "/api/audit/checkpoint")
	replay := save("replay", "/api/audit/replay")
	admin := h.superuser(t)
	acme := schema(t, admin, "acme")
	until(t, "checkpoints are kept", func() bool {
		kept, err := filepath.Glob(filepath.Join(h.data, "blobs", "checkpoints-*", "0*"))
		return err == nil && len(kept) == 2
	})

	if out := h.must(t, "verify"); strings.Count(out, "whole and in order") != 2 || !strings.Contains(out, "checkpoints that hold: 2") {
		t.Errorf("verify: %s", out)
	}
	h.must(t, "verify", "acme", "--checkpoint", signed)
	h.must(t, "verify", "--file", replay, "--checkpoint", signed, "--key", keys)

	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"two at once":         {[]string{"acme", "--file", replay}, misuse, "not both"},
		"no key":              {[]string{"--file", replay, "--checkpoint", signed}, misuse, "--key"},
		"no such file":        {[]string{"--file", replay + "x"}, failure, "no such file"},
		"no such workspace":   {[]string{"nobody"}, failure, "nobody"},
		"another workspace's": {[]string{"beta", "--checkpoint", signed}, failure, "of another workspace"},
		"no checkpoint":       {[]string{"acme", "--checkpoint", replay}, failure, "checkpoint"},
	} {
		status, stdout, stderr := h.run(append([]string{"verify"}, c.args...)...)
		if status != c.status || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%s: status %d, %s%s", name, status, stdout, stderr)
		}
	}

	if _, err := admin.Exec(t.Context(), `update `+acme+`.task set title = 'Forged' where position = 7`); err != nil {
		t.Fatal(err)
	}
	h.names(t, "read model that the log does not give: 1 rows of task")
	h.must(t, "verify", "acme", "--log-only")
	h.must(t, "rebuild", "acme")

	lines := strings.SplitAfter(string(ann.want(t, http.StatusOK, "GET", "/api/audit/replay", "").body), "\n")
	tampered := filepath.Join(folder, "tampered")
	if err := os.WriteFile(tampered, []byte(strings.Join(append(lines[:6:6], lines[7:]...), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, stdout, _ := h.run("verify", "--file", tampered); status != failure || !strings.Contains(stdout, "position 7: missing") {
		t.Errorf("a file without a record: %d, %s", status, stdout)
	}

	for _, step := range []struct{ sql, says string }{
		{`update ACME.event set data = replace(data::text, 'Paint', 'Point')::json where position = 7`, "acme: position 7: changed"},
		{`delete from ACME.tile; update ACME.tree set size = 0`, ": forked from a known checkpoint: the records from here to "},
		{`delete from ACME.event where position > 15; update ACME.head set position = 15`, "acme: position (16: cut off at the end|1: forked from a known checkpoint)"}, // one at 15 may be kept
		{`delete from ACME.event; update ACME.head set position = 0; update ACME.checkpoint set position = 0`, "acme: position 1: cut off at the end"},
	} {
		if _, err := admin.Exec(t.Context(), strings.ReplaceAll(step.sql, "ACME", acme)); err != nil {
			t.Fatal(err)
		}
		h.names(t, step.says)
		if r, err := ann.do("GET", "/api/audit/checkpoint", ""); err == nil && r.status == http.StatusOK && !strings.Contains(step.says, "changed") {
			t.Errorf("after %s a checkpoint is signed: %s", step.sql, r.body)
		}
	}
}

// names checks that verify reports a fault of acme that matches a pattern, and none of beta.
func (h *home) names(t *testing.T, says string) {
	t.Helper()
	status, stdout, stderr := h.run("verify")
	if status != failure || !regexp.MustCompile(says).MatchString(stdout) || !strings.Contains(stdout, "beta: 2 records are whole") || !strings.Contains(stderr, "findings: 1") {
		t.Errorf("status %d, %q, %q; want %q", status, stdout, stderr, says)
	}
}
