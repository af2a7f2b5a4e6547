package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/toolbox"
)

// The lines of the README's quick start run as they are, in a folder in which `kluis serve` has just been started for the first time. Only the port
// differs.
func TestReadmeQuickStart(t *testing.T) {
	t.Parallel()
	for _, needed := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not on this machine", needed)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```sh\n")
	script, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README has no quick start")
	}
	folder, listen := t.TempDir(), toolbox.FreeAddress(t)
	script = strings.ReplaceAll(script, "127.0.0.1:8080", listen)
	serveInProcess(t, "--data", filepath.Join(folder, "data"), "--listen", listen, "--public-url", "http://"+listen)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	shell.Dir = folder
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"title":"Paint the door"`, `"status":"done"`, `"body":"Two coats."`, `"field":"status","old":"open","new":"done"`, `{"position":1,`, `"type":"comment.created"`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the output lacks %s:\n%s", want, out)
		}
	}
}

// serveInProcess runs `kluis serve` with flags until the test ends, and returns when it serves.
func serveInProcess(t *testing.T, flags ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() { ended <- run(ctx, append([]string{"serve"}, flags...), &bytes.Buffer{}, &stderr) }()
	t.Cleanup(func() {
		stop()
		if status := <-ended; status != success {
			t.Errorf("serve ended with %d:\n%s", status, stderr.String())
		}
	})
	address := flags[3]
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("nothing is served on %s", address)
}
