package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// wrongClock builds the program on a machine whose clock is wrong by CLOCK_STEP_SECONDS seconds: with a time.Now that adds them to
// what the kernel says. That compiles the standard library anew, so the short run of chaos does without.
func wrongClock(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // the one that `go build` uses here
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const now, imports = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "import (\n"
	patched := strings.Replace(string(source), now, now+"\tsec += clockStep\n", 1)
	patched = strings.Replace(patched, imports, imports+"\t\"syscall\"\n", 1)
	if strings.Count(patched, "clockStep") != 1 {
		t.Fatal("time.Now is not as it was: mend the patch")
	}
	patched += `
var clockStep = func() (step int64) {
	text, _ := syscall.Getenv("CLOCK_STEP_SECONDS")
	for _, digit := range text {
		step = 10*step + int64(digit-'0')
	}
	return step
}()
`
	files := map[string]string{filepath.Join(dir, "time.go"): patched}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {name: filepath.Join(dir, "time.go")}})
	if err != nil {
		t.Fatal(err)
	}
	files[filepath.Join(dir, "overlay.json")] = string(overlay)
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program = filepath.Join(dir, "kluis.wrong-clock")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}
