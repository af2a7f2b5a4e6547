package http

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var write = flag.Bool("write", false, "write the schema into clients/openapi.json")

const clients = "../clients/"

// clients/openapi.json, of which the clients are made, is the schema of this program: `make client` writes both.
func TestSchemaOfClients(t *testing.T) {
	var now bytes.Buffer
	if err := json.Indent(&now, []byte(newSite(t, nouns...).ask("GET", "/api/schema/", "").body), "", " "); err != nil {
		t.Fatal(err)
	}
	now.WriteByte('\n')
	if *write {
		if err := os.WriteFile(clients+"openapi.json", now.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(clients + "openapi.json")
	if err != nil || !bytes.Equal(kept, now.Bytes()) {
		t.Errorf("clients/openapi.json is not the schema of this program: run `make client` (%v)", err)
	}
}

// The recommended rules of Redocly and of Spectral find nothing in the schema, in both of its versions, and the client compiles.
func TestToolsLikeTheSchema(t *testing.T) {
	bin := clients + "typescript/node_modules/.bin/"
	if _, err := os.Stat(bin + "redocly"); err != nil {
		t.Skip("the tools are not there: run `make client`")
	}
	dir := t.TempDir()
	s := newSite(t, nouns...)
	for name, version := range map[string]string{"newest.json": "3.1", "older.json": "3.0"} {
		file := dir + "/" + name
		if err := os.WriteFile(file, []byte(s.ask("GET", "/api/schema/?version="+version, "").body), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "node_modules/.bin/redocly", "lint", "--config", "redocly.yaml", "--format", "summary", "--max-problems", "0", file)
		run(t, "node_modules/.bin/spectral", "lint", "--ruleset", ".spectral.yaml", "--fail-severity", "warn", file)
	}
	run(t, "node_modules/.bin/tsc", "-p", ".", "--noEmit")
}

// src/kluis.ts is what Orval makes of clients/openapi.json: `make client` again leaves no difference.
func TestClientIsGenerated(t *testing.T) {
	tools, err := filepath.Abs(clients + "typescript/node_modules")
	if _, missing := os.Stat(tools + "/.bin/orval"); err != nil || missing != nil {
		t.Skip("the tools are not there: run `make client`")
	}
	again := t.TempDir()
	for _, name := range []string{"openapi.json", "typescript/package.json", "typescript/orval.config.mjs", "typescript/tsconfig.json", "typescript/src/transport.ts"} {
		text, err := os.ReadFile(clients + name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(again, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(again, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(tools, again+"/typescript/node_modules"); err != nil {
		t.Fatal(err)
	}
	runIn(t, again+"/typescript", tools+"/.bin/orval", "--config", "orval.config.mjs")
	want, err := os.ReadFile(clients + "typescript/src/kluis.ts")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(again + "/typescript/src/kluis.ts"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("clients/typescript/src/kluis.ts is not the client of clients/openapi.json: run `make client` (%v)", err)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	runIn(t, clients+"typescript", name, args...)
}

func runIn(t *testing.T, folder, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("problems hidden")) {
		t.Errorf("%s %v: %v\n%.3000s", name, args, err, out)
	}
}
