package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A target that takes minutes says so before it begins: a first build, tests, lint, benchmarks.
func TestMakeSaysWhatTakesLong(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("make")
	if err != nil {
		t.Skip("make is not on this machine")
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // in which nothing was built
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), makefile, 0o600); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"build": "for the first time", "run": "for the first time", "test": "takes some minutes",
		"race": "a quarter of an hour", "lint": "a minute or two", "bench": "takes some minutes"} {
		dry := exec.Command(program, "-n", target, "LINT_VERSION=x")
		dry.Dir = dir
		if err := os.MkdirAll(filepath.Join(dir, "tools"), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := dry.CombinedOutput()
		text := string(out)
		said, begun := strings.Index(text, want), strings.Index(text, "go build")
		if target == "test" || target == "race" || target == "bench" {
			begun = strings.Index(text, "go test")
		}
		if err != nil || said < 0 || begun < said {
			t.Errorf("make %s: %v, %q is not said before it begins:\n%s", target, err, want, text)
		}
	}
}
