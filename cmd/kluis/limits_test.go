package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/password"
)

// An invalid setting ends the program before it opens anything, as a wrong use, and the message names it.
func TestWrongSettings(t *testing.T) {
	for _, wrong := range []struct{ variable, value, want string }{
		{"KLUIS_LIMITS", "signup_ip=5", `KLUIS_LIMITS: "signup_ip=5": expected name=count/duration`},
		{"KLUIS_LIMITS", "login_ip=1/1m,sign_up=5/1h", `KLUIS_LIMITS: "sign_up=5/1h": there is no limit "sign_up": the limits are api_member, `},
		{"KLUIS_LIMITS", "login_ip=0/1m", `KLUIS_LIMITS: "login_ip=0/1m": the count must be`},
		{"KLUIS_RESET_CODE_LIFE", "16m", "KLUIS_RESET_CODE_LIFE: 16m0s is not 1m to 15m"},
		{"KLUIS_RESET_CODE_LIFE", "10", "missing unit in duration"},
		{"KLUIS_PUBLIC_URL", "kluis.example.org", "KLUIS_PUBLIC_URL: expected an absolute http or https URL"},
		{"KLUIS_PUBLIC_URL", "//kluis.example.org", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "/kluis", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "ftp://kluis.example.org", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "javascript:alert(1)", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https:kluis.example.org", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://:443", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://ann:hunter2@kluis.example.org", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://ann:hunter2@kluis.example.org:port", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org?", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org?a=hunter2", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org#", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org:99999", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org/a b", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", " https://kluis.example.org", "KLUIS_PUBLIC_URL: "},
		{"KLUIS_PUBLIC_URL", "https://kluis.example.org/" + strings.Repeat("a", 200), "KLUIS_PUBLIC_URL: "},
		{"KLUIS_ARGON2", "m=19455,t=3,p=1", "KLUIS_ARGON2: argon2id: memory in KiB must be 19456 to 524288, not 19455"},
		{"KLUIS_ARGON2", "m=65536,t=1,p=1", "KLUIS_ARGON2: argon2id: time must be 2 to 16, not 1"},
		{"KLUIS_ARGON2", "m=65536,t=3,p=0", "KLUIS_ARGON2: argon2id: threads must be 1 to 16, not 0"},
		{"KLUIS_ARGON2", "m=524289,t=3,p=1", "KLUIS_ARGON2: argon2id: memory in KiB must be"},
		{"KLUIS_ARGON2", "m=65536,t=17,p=1", "KLUIS_ARGON2: argon2id: time must be"},
		{"KLUIS_ARGON2", "m=65536,t=3,p=257", "KLUIS_ARGON2: threads must be at most 16, not 257"},
		{"KLUIS_ARGON2", "m=99999999999,t=3,p=1", "KLUIS_ARGON2: parameter 1 is not m= and a number"},
		{"KLUIS_ARGON2", "t=3,m=65536,p=1", "KLUIS_ARGON2: parameter 1 is not m= and a number: expected for instance m=65536,t=3,p=1"},
		{"KLUIS_ARGON2", "m=65536", "KLUIS_ARGON2: 1 parameters instead of 3"},
		{"KLUIS_ARGON2", "m=65536,t=3,p=-1", "KLUIS_ARGON2: parameter 3"},
		{"KLUIS_ARGON2", "m=64MiB,t=3,p=1", "KLUIS_ARGON2: parameter 1"},
	} {
		t.Run(wrong.variable+"="+wrong.value, func(t *testing.T) {
			data := t.TempDir()
			t.Setenv("KLUIS_DATA", data)
			t.Setenv(wrong.variable, wrong.value)
			var stderr bytes.Buffer
			if status := run(t.Context(), []string{"serve"}, &bytes.Buffer{}, &stderr); status != misuse {
				t.Errorf("status %d", status)
			}
			if !strings.Contains(stderr.String(), wrong.want) || strings.Contains(stderr.String(), "hunter2") {
				t.Errorf("%s", stderr.String())
			}
			if _, err := os.Stat(filepath.Join(data, "keys")); err == nil {
				t.Error("it made keys")
			}
		})
	}
}

// Without KLUIS_PUBLIC_URL the links in mails have the address that is served, when people can reach it.
func TestPublicURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "kluis.example.org:80": "http://kluis.example.org:80", "[::1]:8080": "http://[::1]:8080",
		":8080": "", "0.0.0.0:8080": "", "[::]:8080": "", "[::ffff:0.0.0.0]:8080": "", "[fe80::1%eth0]:8080": "",
		"127.0.0.1:0": "", "127.0.0.1:": "", "127.0.0.1:http": "", ":http": "", ":0": "",
	} {
		if got, err := (serve{Listen: listen}).publicURL(); got != want || err != nil {
			t.Errorf("%s: %q, %v", listen, got, err)
		}
		s := serve{Listen: listen, PublicURL: "https://kluis.example.org/"}
		if got, err := s.publicURL(); got != "https://kluis.example.org" || err != nil {
			t.Errorf("%s: %q, %v", listen, got, err)
		}
		var stderr bytes.Buffer
		run(t.Context(), []string{"serve", "--listen", listen, "--keys", "/nowhere/keys"}, &bytes.Buffer{}, &stderr)
		if warned := strings.Contains(stderr.String(), "set KLUIS_PUBLIC_URL"); warned != (want == "") {
			t.Errorf("%s: %s", listen, stderr.String())
		}
	}
}

func TestSettingsAreListed(t *testing.T) {
	var stdout bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--help"}, &stdout, &bytes.Buffer{}); status != success {
		t.Errorf("status %d", status)
	}
	text := strings.Join(strings.Fields(stdout.String()), " ")
	for _, want := range []string{"$KLUIS_LIMITS", "login_ip=20/15m", "$KLUIS_RESET_CODE_LIFE", "strict is 10m", "$KLUIS_ARGON2", password.Default.String()} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
