package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// kluis runs one command, and gives its exit status and output.
func kluis(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	status = run(t.Context(), args, &out, &problems)
	return status, out.String(), problems.String()
}

// An operator rotates the keys of a running server, as docs/operations.md says, and removes the old key.
func TestKeys(t *testing.T) {
	t.Parallel()
	data, listen := filepath.Join(t.TempDir(), "data"), toolbox.FreeAddress(t)
	file := filepath.Join(data, "keys")
	keys := func(command ...string) string {
		t.Helper()
		status, stdout, stderr := kluis(t, append(append([]string{"keys"}, command...), "--data", data)...)
		if status != success {
			t.Fatalf("keys %v: status %d: %s%s", command, status, stdout, stderr)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if key := strings.TrimSpace(line); !strings.HasPrefix(key, "#") && strings.Contains(stdout+stderr, key[:10]) {
				t.Errorf("keys %v prints a key: %s%s", command, stdout, stderr)
			}
		}
		return stdout
	}
	id := regexp.MustCompile(`\b[0-9a-f]{8}\b`)
	first := id.FindString(keys("new"))
	serveInProcess(t, "--data", data, "--listen", listen)
	found(t, "http://"+listen, filepath.Join(data, "mail"))

	second := id.FindString(keys("new"))
	status := keys("status")
	if !strings.Contains(status, second+"  encrypts") || !regexp.MustCompile(first+` +decrypts +2 +0 +0 +1\b`).MatchString(status) {
		t.Errorf("before the rotation:\n%s", status)
	}
	if rotated := keys("rotate"); !strings.Contains(rotated, "key "+first+" is no longer used\n") || strings.Contains(rotated, "key "+second+" is no longer") {
		t.Errorf("rotate: %s", rotated)
	}
	if status = keys("status"); !regexp.MustCompile(first + ` +decrypts +0 +0 +0 +0\b`).MatchString(status) {
		t.Errorf("after the rotation:\n%s", status)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := os.WriteFile(file, []byte(lines[len(lines)-2]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status = keys("status"); strings.Contains(status, first) || !strings.Contains(status, second) {
		t.Errorf("without the old key:\n%s", status)
	}
	last := id.FindString(keys("new", "--last"))
	if status = keys("status"); !strings.Contains(status, second+"  encrypts") || !strings.Contains(status, last+"  decrypts") {
		t.Errorf("with a key behind it:\n%s", status)
	}
	if err := os.WriteFile(file, []byte(lines[len(lines)-1]+"\n"), 0o600); err != nil { // the wrong one stays
		t.Fatal(err)
	}
	if code, _, stderr := kluis(t, "keys", "status", "--data", data); code != failure || !strings.Contains(stderr, "encrypted values do not open") {
		t.Errorf("with the wrong key: status %d, %s", code, stderr)
	}
	if code, _, stderr := kluis(t, "serve", "--data", data, "--listen", toolbox.FreeAddress(t)); code != failure || !strings.Contains(stderr, "KLUIS_KEYS: none of the keys ["+first+"]") {
		t.Errorf("serve with the wrong key: status %d, %s", code, stderr)
	}
}

// found makes a workspace, with the code from the mail.
func found(t *testing.T, url, mails string) {
	t.Helper()
	post := func(path, body string, status int) (answer struct {
		SignupID string `json:"signup_id"`
	}) {
		t.Helper()
		response, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != status {
			t.Fatalf("%s: %d, %v", path, response.StatusCode, err)
		}
		return answer
	}
	id := post("/api/signup", `{"workspace": {"slug": "acme", "name": "Acme"}, "email": "ann@acme.example", "full_name": "Ann",
		"password": "correct horse 77 battery"}`, http.StatusAccepted).SignupID
	for range 200 {
		time.Sleep(50 * time.Millisecond)
		if files, _ := filepath.Glob(filepath.Join(mails, "*.eml")); len(files) > 0 {
			m, err := mailtest.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			post("/api/signup/verify", fmt.Sprintf(`{"signup_id": %q, "code": %q}`, id, m.Code()), http.StatusCreated)
			return
		}
	}
	t.Fatal("no mail")
}

func TestKeysRefuse(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none")
	inline := "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"keys", "turn"}, misuse, "unexpected"},
		{[]string{"keys", "new", "--keys-inline", inline}, misuse, "KLUIS_KEYS_INLINE"},
		{[]string{"keys", "rotate"}, failure, "there is no Kluis in"},
		{[]string{"keys", "status"}, failure, "there is no Kluis in"},
		{[]string{"serve", "--keys-inline", inline}, failure, "KLUIS_KEYS_INLINE: key 1 is a published sample key"},
	} {
		status, _, stderr := kluis(t, append(c.args, "--data", none)...)
		if status != c.status || !strings.Contains(stderr, c.says) || strings.Contains(stderr, inline[:10]) {
			t.Errorf("%v: status %d, %s", c.args, status, stderr)
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a refused command made a folder")
	}
}

// A running server notices a key that is removed from the file too early: the log says what to put back, and the server goes on. After a rotation the same
// removal is no error.
func TestKeyIsTakenOutTooEarly(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	file := filepath.Join(h.data, "keys")
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	old := regexp.MustCompile(`[0-9a-f]{8}`).FindString(h.must(t, "keys", "status"))
	h.must(t, "keys", "new")
	until(t, "the new key is in use", func() bool { return strings.Contains(s.log.String(), "the key file has changed") })
	both, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(both)), "\n")
	newer := []byte(lines[len(lines)-2] + "\n")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tooEarly := "the keys [" + old + "] have gone from the file, and are still needed: put them back"
	write(newer)
	until(t, "the log says that the key is needed", func() bool { return strings.Contains(s.log.String(), tooEarly) })
	(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", fmt.Sprintf(`{"workspace": "acme", "email": "ann@acme.example", "password": %q}`, plain))
	ann.want(t, http.StatusOK, "GET", "/api/members", "") // which opens names
	if status, _, stderr := h.run("serve", "--listen", toolbox.FreeAddress(t)); status != failure || !strings.Contains(stderr, "KLUIS_KEYS: none of the keys") {
		t.Errorf("another start: status %d, %s", status, stderr)
	}
	write(both)
	h.must(t, "keys", "rotate") // takes seconds: the server has seen the file
	before := strings.Count(s.log.String(), "the key file has changed")
	write(newer)
	until(t, "the log says that the file has changed", func() bool { return strings.Count(s.log.String(), "the key file has changed") > before })
	if n := strings.Count(s.log.String(), tooEarly); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.log)
	}
	s.stop(t)
	h.serve(t)
}
