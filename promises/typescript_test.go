package promises

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// clientFolder is where the TypeScript client stands.
const clientFolder = "../clients/typescript"

// node runs a program in a folder, and fails with what it said.
func node(t *testing.T, folder string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%.3000s", name, args, err, out)
	}
}

// The generated client, compiled, walks through a server that is there (clients/typescript/test/live.ts).
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	tools, err := filepath.Abs(clientFolder + "/node_modules")
	if _, missing := os.Stat(tools + "/.bin/tsc"); err != nil || missing != nil {
		t.Skip("the tools are not there: run `make client`")
	}
	there := newProcesses(t, 1, false)[0]
	ada := there.signUp(t)
	walk := filepath.Join(tools, "../dist", t.Name())
	t.Cleanup(func() { _ = os.RemoveAll(walk) })
	node(t, clientFolder, nil, tools+"/.bin/tsc", "-p", "tsconfig.test.json", "--outDir", walk)
	node(t, clientFolder, []string{"KLUIS_URL=" + there.url, "KLUIS_TOKEN=" + ada.token}, "node", walk+"/test/live.js")
	ada.noDrift(t)
}
