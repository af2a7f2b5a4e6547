package http

import (
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/domain"
)

const someThing = "/api/things/0197c0de-0000-7000-8000-00000000000a"

func TestWithoutAToken(t *testing.T) {
	s := newSite(t)
	var first string
	for name, headers := range map[string][]string{
		"no header":     {"Authorization: -"},
		"empty":         {"Authorization: "},
		"scheme only":   {"Authorization: Bearer"},
		"blank token":   {"Authorization: Bearer  "},
		"other scheme":  {"Authorization: Basic YWRtaW46YWRtaW4="},
		"no scheme":     {"Authorization: admin"},
		"two headers":   {"Authorization: Bearer admin", "Authorization: Bearer admin"},
		"padding only":  {"Authorization: Bearer =="},
		"padded inside": {"Authorization: Bearer ad=min"},
		"two tokens":    {"Authorization: Bearer admin admin"},
		"two in one":    {"Authorization: Bearer admin, Bearer admin"},
		"strange":       {"Authorization: Bearer \xff\xfe"},
		"long":          {"Authorization: Bearer " + strings.Repeat("a", 600)},
		"unknown token": {"Authorization: Bearer stranger"},
	} {
		a := s.ask("GET", "/api/things", "", headers...)
		p := a.problem(t, 401, "unauthenticated")
		if got := a.Header.Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("%s: WWW-Authenticate is %q", name, got)
		}
		body := strings.ReplaceAll(a.body, p.RequestID, "")
		if first == "" {
			first = body
		}
		if body != first {
			t.Errorf("%s differs: %s", name, body)
		}
	}
	if a := s.ask("GET", "/api/things", "", "Authorization: bEARER  admin"); a.StatusCode != http.StatusOK {
		t.Errorf("the scheme's case counts: %d", a.StatusCode)
	}
}

func TestPermissions(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		role, method, target, body string
		status                     int
	}{
		{"viewer", "GET", "/api/things", "", 200},
		{"viewer", "POST", "/api/things", `{"title":"x"}`, 403},
		{"viewer", "POST", "/api/things", `{malformed`, 403}, // may not, whatever it is
		{"viewer", "POST", someThing + "/complete", "", 200}, // any active member
		{"member", "POST", "/api/things", `{"title":"x"}`, 201},
		{"member", "DELETE", someThing, "", 204}, // over some scope
		{"analyst", "DELETE", someThing, "", 403},
	} {
		a := s.ask(test.method, test.target, test.body, "Authorization: Bearer "+test.role)
		if a.StatusCode != test.status {
			t.Errorf("%s %s %s: %d, not %d: %s", test.role, test.method, test.target, a.StatusCode, test.status, a.body)
		}
	}
	p := s.ask("DELETE", someThing, "", "Authorization: Bearer viewer").problem(t, 403, "forbidden")
	if !strings.Contains(p.Detail, "task:delete") {
		t.Errorf("the detail does not name the permission: %s", p.Detail)
	}
}

func TestTheHandlerLearnsWhoAsks(t *testing.T) {
	a := newSite(t).ask("POST", someThing+"/complete", "")
	if want := "0197c0de-0000-7000-8000-00000000000a by 0197c0de-0000-7000-8000-00000000000b"; !strings.Contains(a.body, want) {
		t.Error(a.body)
	}
}

func TestAuthenticationThatFails(t *testing.T) {
	s := newSite(t)
	a := s.ask("GET", "/api/things", "", "Authorization: Bearer broken")
	a.problem(t, 500, "internal")
	if strings.Contains(a.body, "secret-detail") || strings.Contains(a.body, "10.1.2.3") {
		t.Error(a.body)
	}
	s.ask("GET", "/api/things", "", "Authorization: Bearer nobody").problem(t, 500, "internal")
	busy := s.ask("GET", "/api/things", "", "Authorization: Bearer busy")
	busy.problem(t, 503, "roster_behind")
	if busy.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// An operation that reached huma past our register is refused, although nobody declared it.
func TestAnOperationWithoutARuleIsRefused(t *testing.T) {
	s := newSite(t, func(a *api) {
		huma.Get(a.huma, "/api/smuggled", fail)
	})
	s.ask("GET", "/api/smuggled", "").problem(t, http.StatusForbidden, "forbidden")
}

// A permission that no operation needs belongs to a noun that is not in the list nouns, or to nothing.
func TestEveryPermissionIsNeeded(t *testing.T) {
	t.Parallel()
	s := &site{t: t, log: &lockedBuffer{}}
	server, err := newServer(s.options(), nouns)
	if err != nil {
		t.Fatal(err)
	}
	needed := map[string]bool{}
	for _, item := range server.api.huma.OpenAPI().Paths {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if op := operationAt(item, method); op != nil {
				if rule, is := op.Metadata[accessKey].(access); is {
					needed[rule.rule] = true
				}
			}
		}
	}
	for _, p := range domain.Permissions {
		if !needed[p.String()] {
			t.Errorf("no operation needs %s: http/%s.go needs a line in nouns (http/http.go)", p, p.Resource)
		}
	}
}
