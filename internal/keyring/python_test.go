package keyring

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// script opens our token, seals the framed plaintext again with a key file's last key alone, and rotates it with
// MultiFernet.
const script = `
import json, sys
from cryptography.fernet import Fernet, MultiFernet
q = json.load(sys.stdin)
keys = [Fernet(k) for k in q["keys"]]
framed = MultiFernet(keys).decrypt(q["token"])
old = keys[-1].encrypt(framed)
new = MultiFernet(keys).rotate(old)
json.dump({"framed": framed.hex(), "old": old.decode(), "new": new.decode()}, sys.stdout)
`

// Tokens and rings are those of Python's cryptography, both ways. Needs python3 with that package.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import cryptography.fernet").Run() != nil {
		t.Skip("needs python3 with the package cryptography")
	}
	k, texts := ring(t, 2)
	purpose, plaintext := "kluis/workspace/1/email/2", "Zoë@example.org\x00\xff"
	question, err := json.Marshal(map[string]any{"keys": texts, "token": mustSeal(t, k, purpose, plaintext)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = bytes.NewReader(question)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var answer struct{ Framed, Old, New string }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"old": answer.Old, "new": answer.New} {
		if got, err := k.Open(purpose, token); err != nil || string(got) != plaintext {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, plaintext)
		}
		if k.Current(token) != (name == "new") {
			t.Errorf("%s: current is %v", name, k.Current(token))
		}
	}
}
