package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A process that prunes is killed on its way. The workspace still verifies, and the next run comes to the end. Everything that an auditor kept still verifies
// without a database: a replay and a checkpoint from before, and from now.
func TestPruningKilled(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	for range 30 {
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
	keys, before, replay := save("keys", "/api/audit/verifier-keys"), save("before", "/api/audit/checkpoint"), save("replay", "/api/audit/replay")
	h.must(t, "workspace", "plan", "acme", "enterprise", "--retention", "1s")
	until(t, "there is something to prune", func() bool {
		ann.want(t, http.StatusOK, "GET", "/api/audit/checkpoint", "") // the tree has all
		return strings.Contains(h.must(t, "retention", "run", "--dry-run", "acme"), "records would be deleted")
	})
	for _, step := range strings.Fields("verified compared pruned baselines") {
		_, err := h.hear(t, []string{"retention", "run", "acme"}, func(p *os.Process, line string) {
			if line == "pruning acme: "+step {
				_ = p.Kill()
			}
		})
		t.Logf("killed behind %s: %v", step, err) // it may have come to its end before
		h.must(t, "verify", "acme", "--checkpoint", before)
	}
	until(t, "the pruning comes to its end", func() bool { // Postgres may yet have to see that the one before was killed
		status, stdout, stderr := h.run("retention", "run", "acme")
		if status != success && !strings.Contains(stderr, "already") {
			t.Fatalf("%d %s%s", status, stdout, stderr)
		}
		return status == success
	})
	after, rest := save("after", "/api/audit/checkpoint"), save("rest", "/api/audit/replay")
	if out := h.must(t, "verify", "acme", "--checkpoint", before, "--checkpoint", after); !strings.Contains(out, "that were pruned are whole and in order") {
		t.Error(out)
	}
	h.must(t, "verify", "--file", rest, "--checkpoint", after, "--key", keys)
	h.must(t, "verify", "--file", replay, "--checkpoint", before, "--key", keys)
	ann.task(t, "goes on")
	h.must(t, "rebuild", "--check", "acme")
}
