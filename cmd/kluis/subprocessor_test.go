package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A company that is added to the list is announced to the admin by mail. Documents that somebody asks for come by mail. The operator of Kluis sees both.
func TestSubprocessorsAndPacks(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, "KLUIS_KEYS="+filepath.Join(h.data, "keys"), "KLUIS_OPERATOR=Example BV")
	s := h.serve(t)
	if out := h.must(t, "subprocessor", "add", "Rack NV", "--purpose", "servers", "--country", "be", "--gets", "all"); !strings.Contains(out, "version 1") || !strings.Contains(out, "0 workspaces") {
		t.Error(out)
	}
	ann := s.signUp(t, "acme")
	for want, args := range map[string][]string{
		"--safeguard": {"subprocessor", "add", "Far Inc", "--purpose", "support", "--country", "US", "--gets", "addresses"},
		"--from":      {"subprocessor", "add", "Near BV", "--purpose", "support", "--country", "NL", "--gets", "addresses", "--from", "2026-01-01"},
		"--country":   {"subprocessor", "add", "Near BV", "--purpose", "support", "--country", "nowhere", "--gets", "addresses"},
	} {
		if status, _, stderr := h.run(args...); status != misuse || !strings.Contains(stderr, want) {
			t.Errorf("%v: %d %s", args, status, stderr)
		}
	}
	if out := h.must(t, "subprocessor", "add", "Near BV", "--purpose", "support", "--country", "NL", "--gets", "addresses"); !strings.Contains(out, "1 workspaces") {
		t.Error(out)
	}
	if out := h.must(t, "subprocessor", "list"); !strings.Contains(out, "Near BV") || !strings.Contains(out, "1 companies get data today") {
		t.Error(out)
	}
	ann.want(t, http.StatusAccepted, "POST", "/api/security-pack", `{"name": "Bob", "email": "bob@elsewhere.example", "company": "Works"}`)
	for subject, check := range map[string]func(m mailtest.Message) bool{
		"<ann@acme.example>":      func(m mailtest.Message) bool { return strings.Contains(m.Subject, "Near BV") },
		"<bob@elsewhere.example>": func(m mailtest.Message) bool { return len(m.Files) == 5 },
	} {
		until(t, "a mail to "+subject, func() bool {
			files, _ := filepath.Glob(filepath.Join(h.data, "mail", "*.eml"))
			for _, file := range files {
				if m, err := mailtest.ReadFile(file); err == nil && m.Header.Get("To") == subject && check(m) {
					return true
				}
			}
			return false
		})
	}
	if out := h.must(t, "security-pack"); !strings.Contains(out, "bob@elsewhere.example") {
		t.Error(out)
	}
	if r := ann.want(t, http.StatusOK, "GET", "/api/compliance/dpa?format=html", ""); !strings.Contains(string(r.body), "Example BV") {
		t.Error("the agreement does not name the operator of Kluis")
	}
}
