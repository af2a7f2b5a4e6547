package promises

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/checkpoint/witnesstest"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A witness of somebody else cosigns the checkpoints, while another one hangs, and an auditor checks that with a program that has nothing of ours. A
// log that was changed or cut off, in the database and in the places outside of it, is refused by the witness and told of.
func TestWitness(t *testing.T) {
	t.Parallel()
	for _, needed := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not on this machine", needed)
		}
	}
	real := witnesstest.Start(t, "witness.example/w1")
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	public, _, _ := ed25519.GenerateKey(nil)
	s := newSite(t)
	for _, setting := range []string{hanging.URL + " " + witnesstest.Key("witness.example/w2", public), real.Setting()} {
		s.witnesses = append(s.witnesses, must(checkpoint.ParseWitness(setting)))
	}
	s.wanted = 1
	p := s.newProcess(t, true)
	ada := p.signUp(t)
	if a := ada.call(t, "GET", "/api/audit/checkpoint?cosigned=true", nil); a.status != 404 {
		t.Errorf("before any witness knows the log: %d %s", a.status, a.body)
	}
	key := strings.Fields(string(ada.call(t, "GET", "/api/audit/verifier-keys", nil).want(t, 200).body))[0]
	origin, _, _ := strings.Cut(key, "+")
	real.Add(t, origin, key)
	first := ada.awaitCosigned(t, 0)
	for range 5 {
		ada.newTask(t)
	}
	ada.cosign(t, p, s.witnesses[1])
	if grown := ada.awaitCosigned(t, first); grown < first+5 {
		t.Errorf("%d records are cosigned, behind %d and five tasks", grown, first)
	}
	ada.auditsCosigned(t, real.Key)

	p.stop()
	superuser := must(pgx.Connect(t.Context(), pgtest.Superuser(t, s.url)))
	t.Cleanup(func() { _ = superuser.Close(context.Background()) })
	// tamper is what somebody does who owns the database, and the places outside of it.
	tamper := func(sql string) {
		t.Helper()
		sql += `; delete from SCHEMA.tile; update SCHEMA.tree set size = 0`
		if _, err := superuser.Exec(t.Context(), strings.ReplaceAll(sql, "SCHEMA", ada.workspace.Schema())); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(s.keptIn, checkpoint.Folder(ada.workspace.ID))); err != nil {
			t.Fatal(err)
		}
	}
	tamper(`update SCHEMA.event set at = at - interval '1 second' where position = 1`)
	changed := s.newProcess(t, true)
	changed.expected = "a witness has cosigned another log than there is"
	changed.await(t, changed.expected, func() bool { return strings.Contains(changed.log.String(), changed.expected) })
	if a := ada.on(changed).call(t, "GET", "/api/audit/checkpoint?cosigned=true", nil); a.status != 404 {
		t.Errorf("a forked log: %d %s", a.status, a.body)
	}
	changed.stop()

	tamper(`delete from SCHEMA.event where position > 2; update SCHEMA.head set position = 2, last = (select id from SCHEMA.event where position = 2)`)
	cut := s.newProcess(t, false)
	var back *checkpoint.WentBackError
	if err := ada.sendCheckpoint(t, cut, s.witnesses[1]); !errors.As(err, &back) || back.Size != 2 || back.Known < first {
		t.Errorf("a log that was cut off: %v", err)
	}
}

// sendCheckpoint has a witness told of the log of now.
func (c *client) sendCheckpoint(t *testing.T, p *process, by *checkpoint.Witness) error {
	t.Helper()
	signed, at, err := p.commands.KeepCheckpoint(t.Context(), c.workspace)
	if err != nil {
		t.Fatal(err)
	}
	return p.commands.Cosign(t.Context(), c.workspace, by, signed, at)
}

// cosign has a witness cosign the log of now, where the background tells it at the same time.
func (c *client) cosign(t *testing.T, p *process, by *checkpoint.Witness) {
	t.Helper()
	p.await(t, "a cosignature", func() bool { return c.sendCheckpoint(t, p, by) == nil })
}

// awaitCosigned waits until more records than so many are cosigned, and gives how many.
func (c *client) awaitCosigned(t *testing.T, than int64) (size int64) {
	t.Helper()
	c.await(t, "a checkpoint is cosigned", func() bool {
		a := c.call(t, "GET", "/api/audit/checkpoint?cosigned=true", nil)
		if a.status == 200 {
			size = a.position(t)
		}
		return size > than
	})
	return size
}

// auditsCosigned runs the lines of docs/auditing.md about witnesses, and looks at a receipt.
func (c *client) auditsCosigned(t *testing.T, key string) {
	t.Helper()
	program, _ := auditor(t)
	text := must(os.ReadFile("../docs/auditing.md"))
	_, rest, _ := strings.Cut(string(text), "## Witnesses")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	script, _, _ := strings.Cut(rest, "```")
	folder := t.TempDir()
	keys := c.call(t, "GET", "/api/audit/verifier-keys", nil).want(t, 200).body
	for name, content := range map[string][]byte{"auditor.go": []byte(program), "witness-keys.txt": []byte(key), "verifier-keys.txt": keys} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script = "go mod init auditor && go get golang.org/x/mod@v0.42.0 && go build -o auditor .\n" + script +
		`get "proof/3?cosigned=true" > receipt; sed -n 3p replay.ndjson > record; ./auditor receipt receipt record; sed '1,/^$/d' receipt > in-receipt; ./auditor cosigned in-receipt`
	out, err := shell(t, folder, script, "api="+c.url, "token="+c.token)
	if err != nil || strings.Count(out, "witness.example/w1 has cosigned") != 2 || !strings.Contains(out, "records are those of the checkpoint") || !strings.Contains(out, "at position 3") {
		t.Errorf("%v\n%s", err, out)
	}
	forged := `sed 's/^[0-9]*$/7/' cosigned.checkpoint > forged; ./auditor cosigned forged`
	if out, err := shell(t, folder, forged); err == nil {
		t.Errorf("a forged checkpoint: %s", out)
	}
}

// await waits until something is so.
func (p *process) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it did not become so\n%s", what, p.log)
		}
	}
}
