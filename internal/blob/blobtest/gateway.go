// Package blobtest starts a real server that speaks S3, on a folder: versitygw.
package blobtest

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/toolbox"
)

// The settings of the gateways of all tests. They listen on loopback.
const (
	accessKey = "kluis-test"
	secretKey = "kluis-test-secret" //nolint:gosec // of a server that lives as long as a test
	bucket    = "blobs"
)

// Gateway is a server with one bucket.
type Gateway struct {
	URL    string // for blob.Open
	Folder string // what is in the bucket, as files

	address  string
	sidecar  string
	versions string // what a bucket that keeps versions has of them
	cmd      *exec.Cmd
	log      *strings.Builder
}

// Program gives the path of the gateway's program, which the first call builds.
func Program(t testing.TB) string {
	t.Helper()
	return toolbox.Program(t, "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
}

// Start starts a gateway, which ends with the test, and sets the credentials for it in the environment of the process.
func Start(t testing.TB) *Gateway {
	t.Helper()
	program := Program(t)
	setCredentials()
	folder := t.TempDir()
	g := &Gateway{Folder: filepath.Join(folder, "data", bucket), sidecar: filepath.Join(folder, "sidecar"), versions: filepath.Join(folder, "versions"), address: toolbox.FreeAddress(t)}
	g.URL = "s3://" + bucket + "?region=us-east-1&endpoint=" + url.QueryEscape("http://"+g.address)
	for _, name := range []string{g.Folder, g.sidecar, g.versions} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.run(t, program)
	t.Cleanup(g.Stop)
	return g
}

// Restart starts a gateway that was stopped again, at the same address.
func (g *Gateway) Restart(t testing.TB) {
	t.Helper()
	program := Program(t)
	g.run(t, program)
}

func (g *Gateway) run(t testing.TB, program string) {
	t.Helper()
	g.log = &strings.Builder{}
	g.cmd = exec.Command(program, "--access", accessKey, "--secret", secretKey, "--port", g.address, "--quiet",
		"posix", "--sidecar", g.sidecar, "--versioning-dir", g.versions, filepath.Dir(g.Folder))
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", g.address, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(end) {
			g.Stop()
			t.Fatalf("versitygw did not begin to listen: %v\n%s", err, g.log)
		}
	}
}

// Stop kills the gateway.
func (g *Gateway) Stop() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

var setCredentials = sync.OnceFunc(func() {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
})
