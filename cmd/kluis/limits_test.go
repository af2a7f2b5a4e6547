package main

import (
	"bytes"
	"strings"
	"testing"
)

// Settings that make no sense end the program before it touches anything, as a wrong use, and are named.
func TestLimitSettings(t *testing.T) {
	for _, wrong := range []struct{ variable, value, want string }{
		{"KLUIS_LIMITS", "signup_ip=5", `KLUIS_LIMITS: "signup_ip=5": expected name=count/duration`},
		{"KLUIS_LIMITS", "login_ip=1/1m,sign_up=5/1h", `KLUIS_LIMITS: "sign_up=5/1h": there is no limit "sign_up", but api_member, `},
		{"KLUIS_LIMITS", "login_ip=0/1m", `KLUIS_LIMITS: "login_ip=0/1m": the count must be`},
		{"KLUIS_RESET_CODE_LIFE", "16m", "KLUIS_RESET_CODE_LIFE: 16m0s is not 1m to 15m"},
		{"KLUIS_RESET_CODE_LIFE", "10", "missing unit in duration"},
	} {
		t.Run(wrong.variable+"="+wrong.value, func(t *testing.T) {
			data := t.TempDir()
			t.Setenv("KLUIS_DATA", data)
			t.Setenv(wrong.variable, wrong.value)
			var stderr bytes.Buffer
			if status := run(t.Context(), []string{"serve"}, &bytes.Buffer{}, &stderr); status != misuse {
				t.Errorf("status %d", status)
			}
			if !strings.Contains(stderr.String(), wrong.want) {
				t.Errorf("%s", stderr.String())
			}
		})
	}
}

func TestLimitSettingsAreListed(t *testing.T) {
	var stdout bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--help"}, &stdout, &bytes.Buffer{}); status != success {
		t.Errorf("status %d", status)
	}
	text := strings.Join(strings.Fields(stdout.String()), " ")
	for _, want := range []string{"$KLUIS_LIMITS", "login_ip=20/15m", "$KLUIS_RESET_CODE_LIFE", "strict is 10m"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
