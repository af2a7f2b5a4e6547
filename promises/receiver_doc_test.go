package promises

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var receiverProgram = regexp.MustCompile("(?s)```(go|js)\n(.*?)```")

// The programs of docs/receivers.md accept what a receiver gets, and nothing that was changed, forged, or sent once more.
func TestProgramsOfReceivers(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h)
	h.upTo(t, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	h.mu.Lock()
	head, body := h.heads[0], h.bodies[0]
	h.mu.Unlock()
	secret := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Secret, "whsec_")))
	id, signature := head.Get("webhook-id"), head.Get("webhook-signature")
	messages := []webhookMessage{
		{"right", r.Secret, id, head.Get("webhook-timestamp"), signature, string(body), true},
		{"the second of two signatures", r.Secret, id, head.Get("webhook-timestamp"), "v1,AAAA " + signature, string(body), true},
		{"another body", r.Secret, id, head.Get("webhook-timestamp"), signature, string(body) + " ", false},
		{"another id", r.Secret, id + "0", head.Get("webhook-timestamp"), signature, string(body), false},
		{"another time", r.Secret, id, head.Get("webhook-timestamp") + "0", signature, string(body), false},
		{"no signature", r.Secret, id, head.Get("webhook-timestamp"), "", string(body), false},
		{"half a signature", r.Secret, id, head.Get("webhook-timestamp"), signature[:20], string(body), false},
		{"as long, of other letters", r.Secret, id, head.Get("webhook-timestamp"), strings.Repeat("é", len(signature)), string(body), false},
		{"another version", r.Secret, id, head.Get("webhook-timestamp"), "v1a" + signature[2:], string(body), false},
		signedAt("no time", r.Secret, secret, id, "", body),
		signedAt("a time that is none", r.Secret, secret, id, "now", body),
		signedAt("ten minutes ago", r.Secret, secret, id, fmt.Sprint(time.Now().Add(-10*time.Minute).Unix()), body),
		signedAt("in ten minutes", r.Secret, secret, id, fmt.Sprint(time.Now().Add(10*time.Minute).Unix()), body),
		signedAt("no secret", "", nil, id, fmt.Sprint(time.Now().Unix()), body),
		signedAt("an empty secret", "whsec_", nil, id, fmt.Sprint(time.Now().Unix()), body),
	}
	for _, program := range receiverProgram.FindAllSubmatch(must(os.ReadFile("../docs/receivers.md")), -1) {
		file := filepath.Join(t.TempDir(), "verify."+string(program[1]))
		if err := os.WriteFile(file, program[2], 0o600); err != nil {
			t.Fatal(err)
		}
		run := []string{"go", "run", file}
		if string(program[1]) == "js" {
			run = []string{"node", file}
		}
		if _, err := exec.LookPath(run[0]); err != nil {
			t.Log("not here:", run[0])
			continue
		}
		if run[0] == "go" {
			program := file + ".program"
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, file).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			run = []string{program}
		}
		for _, m := range messages {
			command := exec.CommandContext(t.Context(), run[0], run[1:]...)
			command.Env = append(os.Environ(), "SECRET="+m.secret, "ID="+m.id, "TIMESTAMP="+m.timestamp, "SIGNATURE="+m.signature)
			command.Stdin = strings.NewReader(m.body)
			out, err := command.CombinedOutput()
			if err != nil || string(bytes.TrimSpace(out)) != fmt.Sprint(m.right) {
				t.Errorf("%s, %s: it says %s, want %v: %v", program[1], m.name, out, m.right, err)
			}
		}
	}
}

// webhookMessage is what a receiver gets.
type webhookMessage struct {
	name, secret, id, timestamp, signature, body string
	right                                        bool
}

// signedAt is a message that whoever has the secret signed, and that is to be refused for its time, or for there being no secret.
func signedAt(name, secret string, key []byte, id, timestamp string, body []byte) webhookMessage {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	return webhookMessage{name, secret, id, timestamp, "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), string(body), false}
}
