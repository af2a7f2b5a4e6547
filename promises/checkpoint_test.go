package promises

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
)

// auditor is the program of docs/auditing.md, and the lines that use it.
func auditor(t *testing.T) (program, script string) {
	t.Helper()
	text := must(os.ReadFile("../docs/auditing.md"))
	_, rest, _ := strings.Cut(string(text), "```go\n")
	program, rest, _ = strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	script, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/auditing.md has no program")
	}
	for _, i := range must(parser.ParseFile(token.NewFileSet(), "auditor.go", program, parser.ImportsOnly)).Imports {
		if path := strings.Trim(i.Path.Value, `"`); strings.Contains(path, ".") && !strings.HasPrefix(path, "golang.org/x/mod/sumdb/") {
			t.Errorf("the auditor's program imports %s", path)
		}
	}
	return program, script
}

// run runs lines of shell in a folder, without any network but the server's.
func shell(t *testing.T, folder, script string, environ ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), append(environ, "GOPROXY=off", "GOFLAGS=-mod=mod", "GONOSUMDB=*", "GOWORK=off")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// An auditor checks a downloaded log, one record by itself, and that the log only grew, with a program that has nothing of ours. What
// was changed on the way is told.
func TestAuditor(t *testing.T) {
	t.Parallel()
	for _, needed := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not on this machine", needed)
		}
	}
	p := newProcesses(t, 1, true)
	ada := p[0].signUp(t)
	for range 40 {
		ada.newTask(t, object{"title": "<é>\u2028 & \""})
	}
	program, script := auditor(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "auditor.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := shell(t, folder, script, "api="+ada.url, "token="+ada.token)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"records are those of the checkpoint", "the record is at position 3", "and changed nothing"} {
		if !strings.Contains(out, want) {
			t.Errorf("the auditor does not say %q: %s", want, out)
		}
	}
	ada.newTask(t)
	ada.agree(t)
	ada.prune(t)
	ada.newTask(t)
	get := `get() { curl -sSf -H "Authorization: Bearer $token" "$api/api/audit/$1"; }
		get checkpoint > pruned.checkpoint; get replay > pruned.ndjson; get "consistency?from=$(sed -n 2p today.checkpoint)" > pruned.consistency; get proof/3 > pruned.tlog-proof;`
	out, err = shell(t, folder, get+`./auditor log pruned.checkpoint pruned.ndjson; ./auditor grown today.checkpoint pruned.consistency; ./auditor receipt pruned.tlog-proof record.json
		./auditor log today.checkpoint replay.ndjson`, "api="+ada.url, "token="+ada.token)
	for _, want := range []string{"were pruned", "the record is at position 3", "and changed nothing", "of which 0 were pruned"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("the auditor does not say %q: %v %s", want, err, out)
		}
	}
	for what, lines := range map[string]string{
		"those of the checkpoint":     `sed '1s/"tree":\["./"tree":["A/; 2s/Z/X/' pruned.ndjson > changed; ./auditor log pruned.checkpoint changed`,
		"does not say that":           `sed 1d pruned.ndjson > short; ./auditor log pruned.checkpoint short`,
		"ask for a proof":             `./auditor log today.checkpoint pruned.ndjson`,
		"not those of the checkpoint": `sed '7s/Z/X/' replay.ndjson > changed; ./auditor log today.checkpoint changed`,
		"the log ends after":          `sed '7d' replay.ndjson > short; ./auditor log today.checkpoint short`,
		"not at position 3":           `sed -n 4p replay.ndjson > other; ./auditor receipt record.tlog-proof other`,
		"changed nothing":             `curl -sSf -H "Authorization: Bearer $token" "$api/api/audit/consistency?from=$(sed -n 2p today.checkpoint)" > later; ./auditor grown today.checkpoint later; exit 1`,
		"invalid signature":           `sed '2s/$/0/' today.checkpoint > forged; ./auditor log forged replay.ndjson`,
	} {
		if out, err := shell(t, folder, lines, "api="+ada.url, "token="+ada.token); err == nil || !strings.Contains(out, what) {
			t.Errorf("%s: %v %s", lines, err, out)
		}
	}
}

// Proofs are for who may read the log, of records that there are.
func TestProofs(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "auditor")
	carol := ada.member(t, "manager")
	head := ada.head(t)
	signed := bob.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200)
	at, err := checkpoint.Open(signed.body, p[0].keys.PublicKeys())
	if err != nil || at.Size != head || at.Origin.Workspace != ada.workspace.ID || signed.position(t) != head {
		t.Errorf("%v: %s", err, signed.body)
	}
	for path, status := range map[string]int{
		"proof/1": 200, "proof/9223372036854775807": 404, "proof/0": 422, "proof/x": 422,
		"consistency?from=1": 200, "consistency?from=1&to=1": 200, "consistency?from=2&to=1": 422, "consistency?from=1&to=1000": 422,
		"consistency": 422, "consistency?from=0": 422, "verifier-keys": 200,
	} {
		if a := bob.on(p[1]).call(t, "GET", "/api/audit/"+path, nil); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		for _, c := range []*client{carol, p[0].public()} {
			if a := c.call(t, "GET", "/api/audit/"+path, nil); a.status != 403 && a.status != 401 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	}
	if a := carol.call(t, "GET", "/api/audit/checkpoint", nil); a.status != 403 {
		t.Errorf("a manager gets %d", a.status)
	}
}

// The verifier key of before goes on to verify what is signed until it leaves the file, and is shown afterwards.
func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)
	ada := p[0].signUp(t)
	keys := func() []string {
		return strings.Fields(string(ada.call(t, "GET", "/api/audit/verifier-keys", nil).want(t, 200).body))
	}
	before := keys()
	ada.awaitKept(t)
	if err := keyring.Prepend(p[0].site.keyFile); err != nil {
		t.Fatal(err)
	}
	p[0].keys.Now() // looks at the file
	after := keys()
	if len(before) != 1 || len(after) != 2 || after[1] != before[0] {
		t.Fatalf("the keys were %q and are %q", before, after)
	}
	signed := ada.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200).body
	for _, key := range after {
		if _, err := note.Open(signed, note.VerifierList(must(note.NewVerifier(key)))); err != nil {
			t.Errorf("%s: %v in %s", key, err, signed)
		}
	}
	p[0].site.dropOldKeys(t)
	p[0].keys.Now()
	if now := keys(); len(now) != 2 || now[0] != after[0] || now[1] != before[0] {
		t.Errorf("the keys are %q", now)
	}
	if a := ada.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200); bytes.Count(a.body, []byte("— ")) != 1 {
		t.Errorf("the old key still signs: %s", a.body)
	}
}

// awaitKept waits until a checkpoint lies outside the database.
func (c *client) awaitKept(t *testing.T) checkpoint.Checkpoint {
	t.Helper()
	for range 300 {
		if kept := must(c.site.kept.Last(t.Context(), c.workspace.ID)); kept != nil && len(must(c.site.kept.Keys(t.Context()))) > 0 {
			return must(checkpoint.Open(kept, c.keys.PublicKeys()))
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no checkpoint is kept")
	return checkpoint.Checkpoint{}
}
