package promises

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var receiverProgram = regexp.MustCompile("(?s)```(go|js)\n(.*?)```")

// The programs of docs/receivers.md accept what a receiver gets, and nothing that was changed.
func TestProgramsOfReceivers(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h)
	h.upTo(t, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	h.mu.Lock()
	head, body := h.heads[0], h.bodies[0]
	h.mu.Unlock()
	env := append(os.Environ(), "SECRET="+r.Secret, "ID="+head.Get("webhook-id"), "TIMESTAMP="+head.Get("webhook-timestamp"), "SIGNATURE="+head.Get("webhook-signature"))
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
		for content, want := range map[string]string{string(body): "true", string(body) + " ": "false"} {
			command := exec.CommandContext(t.Context(), run[0], run[1:]...)
			command.Env, command.Stdin = env, strings.NewReader(content)
			out, err := command.CombinedOutput()
			if err != nil || string(bytes.TrimSpace(out)) != want {
				t.Errorf("%s says %s, want %s: %v", run[0], out, want, err)
			}
		}
	}
}
