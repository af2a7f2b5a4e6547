package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

func TestErrorsOfHandlers(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		how        string
		status     int
		code       string
		retryAfter string
	}{
		{"unknown", 500, "internal", ""},
		{"panic", 500, "internal", ""},
		{"kindless", 500, "internal", ""},
		{"deadline", 503, "database_busy", "1"},
		{"wrapped", 409, "last_admin", ""},
		{"fields", 422, "invalid", ""},
		{"wait", 429, "locked", "2"},
		{"later", 503, "busy", "1"},
	} {
		a := s.ask("GET", "/api/fail/"+test.how, "")
		p := a.problem(t, test.status, test.code)
		if got := a.Header.Get("Retry-After"); got != test.retryAfter {
			t.Errorf("%s: Retry-After is %q", test.how, got)
		}
		if (p.Limit == "login_account") != (test.how == "wait") {
			t.Errorf("%s: limit %q", test.how, p.Limit)
		}
		if strings.Contains(a.body, "secret") || strings.Contains(a.body, "SQL") {
			t.Errorf("%s leaks: %s", test.how, a.body)
		}
		if logged := strings.Contains(s.log.String(), p.RequestID+`","`); test.status == 500 && !logged {
			t.Errorf("%s is not in the log with its request id", test.how)
		}
	}
	if !strings.Contains(s.log.String(), "SQLSTATE 42P01") || !strings.Contains(s.log.String(), "fakes_test.go") {
		t.Error("the log lacks the error's text or the panic's stack")
	}
	if a := s.ask("GET", "/api/fail/not", ""); a.StatusCode != http.StatusOK {
		t.Errorf("after the panics: %d", a.StatusCode)
	}
}

// The database goes away in the middle of a command, so its outcome is unknown and nobody can be proven to have asked. The caller learns that the
// command may be stored. What is wrong with a request is told only to a proven caller.
func TestOutcomeIsToldWithoutProof(t *testing.T) {
	t.Parallel()
	gone := fmt.Errorf("authenticate: %w", pg.ErrNoConnection)
	for _, test := range []struct {
		err  error
		code string
	}{
		{errors.Join(domain.Refuse(domain.Unavailable, "outcome_unknown", "look"), context.DeadlineExceeded), "outcome_unknown"},
		{pg.ErrReadOnly, "database_read_only"},
		{domain.Refuse(domain.Conflict, "last_admin", "no"), "database_busy"},
	} {
		x := &exchange{log: slog.New(slog.DiscardHandler), claim: &projections.Claim{}, prove: func() error { return gone }}
		if p := problemOf(context.WithValue(t.Context(), exchangeKey{}, x), test.err); p.Status != http.StatusServiceUnavailable || p.Code != test.code {
			t.Errorf("%v: %d %s, want %s", test.err, p.Status, p.Code, test.code)
		}
	}
}

func TestACallerWhoLeavesIsNoError(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/fail/canceled", nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if response, err := http.DefaultClient.Do(r); err == nil {
		response.Body.Close()
		t.Fatal("there was an answer")
	}
	for !strings.Contains(s.log.String(), `"status":499`) {
		time.Sleep(5 * time.Millisecond)
	}
	if strings.Contains(s.log.String(), "ERROR") {
		t.Error(s.log)
	}
}

func TestRouting(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{
		"/", "/api", "/api/hunter2", "/api/things/", someThing + "/", someThing + "/hunter2", someThing + "/complete/x",
		"/api/things//complete", "/healthz/", "//healthz", "/api/docs/hunter2", "/api/docs/../schema/x",
	} {
		method := "DELETE"
		if strings.HasPrefix(target, "/api/docs") {
			method = "GET"
		}
		a := s.ask(method, target, "")
		if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", target, a.StatusCode, a.body)
			continue
		}
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s is echoed: %s", target, a.body)
		}
	}
	s.ask("GET", "/api/hunter2", "").problem(t, 404, "not_found")
	a := s.ask("PUT", "/api/things", `{"title":"x"}`)
	a.problem(t, 405, "method_not_allowed")
	if got := a.Header.Get("Allow"); got != "OPTIONS, GET, POST, HEAD" {
		t.Errorf("Allow is %q", got)
	}
	s.ask("BREW", "/api/things", "").problem(t, 405, "method_not_allowed")
	s.ask("TRACE", "/api/things", "").problem(t, 405, "method_not_allowed")
}

func TestInvalidValues(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ method, target, body, faults string }{
		{"POST", "/api/things", `{"title":5}`, "body /title"},
		{"POST", "/api/things", `{"title":null}`, "body /title"},
		{"POST", "/api/things", `{"title":"hunter2 hunter2 hunter2"}`, "body /title"},
		{"POST", "/api/things", `{"title":""}`, "body /title"},
		{"POST", "/api/things", `{}`, "body /title"},
		{"POST", "/api/things", `[]`, "body "},
		{"POST", "/api/things", `null`, "body "},
		{"POST", "/api/things", `"hunter2"`, "body "},
		{"POST", "/api/things", `{"title":"x","owner":"hunter2"}`, "body /owner"},
		{"POST", "/api/things", `{"Title":"x"}`, "body /Title, body /title"},
		{"POST", "/api/things", `{"title":"x","a/b~":1}`, "body /a~1b~0"},
		{"POST", "/api/things", `{"title":"x","count":1.5}`, "body /count"},
		{"POST", "/api/things", `{"title":"x","count":1e30}`, "body /count"},
		{"POST", "/api/things", `{"title":"x","count":"hunter2"}`, "body /count"},
		{"POST", "/api/things", `{"title":"x","due_on":"2024-02-30"}`, "body /due_on"},
		{"POST", "/api/things", `{"title":"x","due_on":"0000-01-01"}`, "body /due_on"},
		{"POST", "/api/things", `{"title":"x","at":"hunter2"}`, "body /at"},
		{"POST", "/api/things", `{"title":"x","tag_ids":["0197c0de-0000-7000-8000-00000000000a","hunter2"]}`, "body /tag_ids/1"},
		{"POST", "/api/things", `{"title":"x","tag_ids":["urn:uuid:0197c0de-0000-7000-8000-00000000000a"]}`, "body /tag_ids/0"},
		{"POST", "/api/things", `{"title":"x","children":[{"name":"a"},{"name":"hunter2"},{}]}`, "body /children/1/name, body /children/2/name"},
		{"PATCH", "/api/things/hunter2", `{}`, "path /id"},
		{"DELETE", "/api/things/urn:uuid:0197c0de-0000-7000-8000-00000000000a", "", "path /id"},
		{"PATCH", someThing, `{"title":null}`, "body /title"},
		{"PATCH", someThing, `{"owner":null,"parent_id":"hunter2"}`, "body /owner"},
		{"GET", "/api/things?hunter=2", "", "query /hunter"},
		{"GET", "/api/things?Limit=2", "", "query /Limit"},
		{"GET", "/api/things?limit=0", "", "query /limit"},
		{"GET", "/api/things?limit=201", "", "query /limit"},
		{"GET", "/api/things?limit=", "", "query /limit"},
		{"GET", "/api/things?limit=5&limit=6", "", "query /limit"},
		{"GET", "/api/things?limit=99999999999999999999", "", "query /limit"},
		{"GET", "/api/things?status=hunter2&as_of=hunter2&parent_id=hunter2", "", "query /as_of, query /parent_id, query /status"},
	} {
		a := s.ask(test.method, test.target, test.body)
		p := a.problem(t, 422, "invalid")
		var found []string
		for _, f := range p.Errors {
			found = append(found, f.In+" "+f.Pointer)
			if f.Detail == "" || strings.Contains(f.Detail, "body.") {
				t.Errorf("%s: detail %q", test.body, f.Detail)
			}
		}
		if got := strings.Join(found, ", "); got != test.faults {
			t.Errorf("%s %s %s: %s, not %s", test.method, test.target, test.body, got, test.faults)
		}
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s %s is echoed: %s", test.target, test.body, a.body)
		}
	}
}

func TestProblemsStaySmall(t *testing.T) {
	s := newSite(t)
	a := s.ask("POST", "/api/things", `{"title":"x","`+strings.Repeat("é", 300_000)+`":1,"b":1,"c":1,"d":1}`)
	if p := a.problem(t, 422, "invalid"); len(a.body) > 1000 || len(p.Errors) != 4 {
		t.Errorf("%d bytes, %d faults", len(a.body), len(p.Errors))
	}
	var body strings.Builder
	body.WriteString(`{"title":"x"`)
	for i := range 1000 {
		body.WriteString(`,"` + string(rune(0x4e00+i)) + `":1`)
	}
	a = s.ask("POST", "/api/things", body.String()+"}")
	if p := a.problem(t, 422, "invalid"); len(p.Errors) != maxFaults {
		t.Errorf("%d faults", len(p.Errors))
	}
}
