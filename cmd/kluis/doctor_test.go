package main

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/checkpoint/witnesstest"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// The doctor finds nothing to mend when nothing is wrong. Otherwise it names the fault, and says what to do. It changes nothing.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	h.serve(t).signUp(t, "acme")
	status, well, _ := h.run("doctor") // the tests' Postgres forgets at a crash, and that is all
	if status != failure || strings.Count(well, "BAD ") != 1 || !strings.Contains(well, "BAD   durability  fsync is off") || strings.Count(well, "\nok ") < 8 {
		t.Errorf("nothing else is wrong: status %d\n%s", status, well)
	}
	nobody, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := nobody.Addr().String()
	nobody.Close()
	others := filepath.Join(t.TempDir(), "keys")
	(&home{data: h.data, env: []string{"KLUIS_KEYS=" + others}}).must(t, "keys", "new")
	open := filepath.Join(t.TempDir(), "open")
	keys, err := os.ReadFile(filepath.Join(h.data, "keys"))
	if err == nil {
		err = os.WriteFile(open, keys, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a checkpoint is kept", func() bool {
		kept, err := filepath.Glob(filepath.Join(h.data, "blobs", "checkpoints-*", "0*"))
		return err == nil && len(kept) == 1
	})
	for _, c := range []struct{ setting, finds, does string }{
		{"KLUIS_WITNESSES=http://" + refused + " " + witnessKey(t), "BAD   witnesses", "checkpoints get no cosignature until it answers"},
		{"KLUIS_WITNESSES=" + witnessSaying(t, http.StatusConflict, "1000000\n"), "BAD   witnesses", "it went back"},
		{"KLUIS_WITNESSES=" + witnessSaying(t, http.StatusNotFound, "unknown log"), "note  witnesses", "kluis log-list"},
		{"KLUIS_WITNESSES=" + witnessSaying(t, http.StatusConflict, "0\n"), "note  witnesses", "fewer than 1 cosign checkpoints of 1 of 1 workspaces"},
		{"KLUIS_WITNESSES=" + witnessSaying(t, http.StatusConflict, "2\n"), "ok    witnesses", "1 know the logs of 1 workspaces"},
		{"KLUIS_KEYS=" + others, "BAD   keys", "not the keys of this database"},
		{"KLUIS_KEYS=" + filepath.Join(h.data, "none"), "BAD   keys", "put the copy of the keys back"},
		{"KLUIS_SMTP_URL=smtp://" + refused, "BAD   mail", "check KLUIS_SMTP_URL"},
		{"KLUIS_BLOB_URL=s3://nowhere?endpoint=http://" + refused + "&region=eu-west-1", "BAD   blobs", "KLUIS_BLOB_URL"},
		{"KLUIS_LISTEN=0.0.0.0:8080", "note  public URL", "set KLUIS_PUBLIC_URL"},
	} {
		ill := &home{data: h.data, program: h.program, env: append(h.env[:len(h.env):len(h.env)], c.setting, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y")}
		_, stdout, stderr := ill.run("doctor")
		if strings.HasPrefix(c.finds, "BAD") != (strings.Count(stdout, "BAD ") == 2) || !strings.Contains(stdout, c.finds) || !strings.Contains(stdout+stderr, c.does) {
			t.Errorf("%s:\n%s%s", c.setting, stdout, stderr)
		}
	}
	admin := h.superuser(t)
	if _, err := admin.Exec(t.Context(), `grant select on `+schema(t, admin, "acme")+`.task to public`); err != nil {
		t.Fatal(err)
	}
	if status, stdout, _ := h.run("doctor"); status != failure || !strings.Contains(stdout, "BAD   isolation") || !strings.Contains(stdout, "everybody has SELECT") {
		t.Errorf("a hole: status %d\n%s", status, stdout)
	}
	nowhere := &home{data: filepath.Join(t.TempDir(), "none")}
	if status, _, stderr := nowhere.run("doctor"); status != failure || !strings.Contains(stderr, "there is no Kluis in") {
		t.Errorf("nowhere: status %d, %s", status, stderr)
	}
}

// The list for witnesses has every log, with its present name and the key that signs for it. An invalid setting is refused.
func TestLogList(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	key := string(ann.want(t, http.StatusOK, "GET", "/api/audit/verifier-keys", "").body)
	h.env = append(h.env, "KLUIS_PUBLIC_URL="+s.url)
	if out := h.must(t, "log-list"); out != "logs/v0\n\nvkey "+key+"qpd 144\n" {
		t.Errorf("%s\nis not of %s", out, key)
	}
	for _, wrong := range []string{"KLUIS_WITNESSES=https://w.example", "KLUIS_COSIGNATURES_WANTED=1", "KLUIS_WITNESSES=" + strings.Repeat(witnessSaying(t, 200, "")+",", 2)} {
		ill := &home{data: h.data, program: h.program, env: append(h.env[:len(h.env):len(h.env)], wrong)}
		if status, _, stderr := ill.run("log-list"); status != misuse || !strings.Contains(stderr, wrong[:14]) {
			t.Errorf("%s: status %d, %s", wrong, status, stderr)
		}
	}
}

func witnessKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return witnesstest.Key("witness.example", public)
}

// witnessSaying gives the setting for a witness that always gives the same answer.
func witnessSaying(t *testing.T, status int, says string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, says)
	}))
	t.Cleanup(s.Close)
	return s.URL + " " + witnessKey(t)
}
