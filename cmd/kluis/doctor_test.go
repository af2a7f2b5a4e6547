package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// The doctor finds nothing to mend where nothing is wrong, and names what is, with what to do. It changes nothing.
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
	for _, c := range []struct{ setting, finds, does string }{
		{"KLUIS_KEYS=" + others, "BAD   keys", "not the keys of this database"},
		{"KLUIS_KEYS=" + filepath.Join(h.data, "none"), "BAD   keys", "put the copy of the keys back"},
		{"KLUIS_SMTP_URL=smtp://" + refused, "BAD   mail", "look at KLUIS_SMTP_URL"},
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
