// Package witnesstest starts a real witness, litewitness, with a key that an SSH agent of the test holds.
package witnesstest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/kluis-eu/kluis/internal/toolbox"
)

const (
	litewitness = "filippo.io/torchwood/cmd/litewitness"
	version     = "v0.6.1"
)

// Witness is a witness that runs. It knows no log yet.
type Witness struct {
	URL string
	Key string // the verifier key of its cosignatures

	folder string
}

// Start starts a witness, which ends with the test.
func Start(t testing.TB, name string) *Witness {
	t.Helper()
	program := toolbox.Program(t, litewitness, version)
	folder, err := os.MkdirTemp("", "witness") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	address := toolbox.FreeAddress(t)
	w := &Witness{URL: "http://" + address, Key: Key(name, public), folder: folder}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command(program, "-name", name, "-db", w.db(), "-listen", address, "-ssh-agent", hold(t, folder, private), "-key", ssh.FingerprintSHA256(key))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return w
		}
		if time.Now().After(end) {
			stop()
			t.Fatalf("litewitness did not begin to listen: %v\n%s", err, said.String())
		}
	}
}

// Add has the witness know a log, by its origin and a verifier key.
func (w *Witness) Add(t testing.TB, origin, key string) {
	t.Helper()
	add := toolbox.Own(t, "internal/checkpoint/witnesstest/testdata/addlog", "v1")
	if said, err := exec.CommandContext(t.Context(), add, w.db(), origin, key).CombinedOutput(); err != nil {
		t.Fatalf("addlog %s: %v\n%s", origin, err, said)
	}
}

// Setting is the witness as KLUIS_WITNESSES has it.
func (w *Witness) Setting() string { return w.URL + " " + w.Key }

func (w *Witness) db() string { return filepath.Join(w.folder, "db") }

// Key is a verifier key of cosignatures (C2SP signed-note, the type 4).
func Key(name string, key ed25519.PublicKey) string {
	typed := append([]byte{4}, key...)
	hash := sha256.Sum256(append([]byte(name+"\n"), typed...))
	return name + "+" + hex.EncodeToString(hash[:4]) + "+" + base64.StdEncoding.EncodeToString(typed)
}

// hold runs an SSH agent with one key, and gives its socket.
func hold(t testing.TB, folder string, key ed25519.PrivateKey) string {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(folder, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(keys, conn) // until the witness ends
				_ = conn.Close()
			}()
		}
	}()
	return socket
}
