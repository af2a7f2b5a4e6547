package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// The tests ask a server of small operations of their own (fakes_test.go) over a real connection.

type site struct {
	*httptest.Server
	t     *testing.T
	log   *lockedBuffer
	ready error
}

// newSite starts a server of the given nouns, and of the fakes when none is given.
func newSite(t *testing.T, nouns ...func(*api)) *site {
	t.Helper()
	s := &site{t: t, log: &lockedBuffer{}}
	if len(nouns) == 0 {
		nouns = []func(*api){health, fakes}
	}
	server, err := newServer(s.options(), nouns)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(server.Handler())
	t.Cleanup(s.Close)
	return s
}

func (s *site) options() Options {
	return Options{
		Authenticate: authenticate,
		Ready:        func(context.Context) error { return s.ready },
		Commands:     commands.New(commands.Needs{}),
		Log:          slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version:      "test",
	}
}

// authenticate knows the tokens "admin", "member" and "viewer" (the roles), and some that fail.
func authenticate(_ context.Context, bearer string) (projections.Actor, error) {
	switch bearer {
	case "broken":
		return projections.Actor{}, errors.New("dial tcp 10.1.2.3:5432: secret-detail")
	case "nobody":
		return projections.Actor{}, nil
	case "busy":
		return projections.Actor{}, domain.Refuse(domain.Unavailable, "roster_behind", "the roster is behind")
	}
	role, ok := domain.BuiltInRole(bearer)
	if !ok {
		return projections.Actor{}, domain.Refuse(domain.Unauthenticated, "unauthenticated", "a valid bearer token is needed")
	}
	return projections.Actor{
		Workspace: pg.Workspace{ID: uuid.MustParse("0197c0de-0000-7000-8000-00000000000a")},
		Member:    uuid.MustParse("0197c0de-0000-7000-8000-00000000000b"),
		Role:      role,
	}, nil
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

// ask sends a request. A header "Name: value" that starts with "Authorization" replaces the admin's.
func (s *site) ask(method, target, body string, headers ...string) answer {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, s.URL+target, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer admin")
	replaced := map[string]bool{}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if !replaced[name] {
			r.Header.Del(name)
			replaced[name] = true
		}
		if value != "-" { // "Name: -" leaves it out
			r.Header.Add(name, value)
		}
	}
	return s.do(r)
}

func (s *site) do(r *http.Request) answer {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response, string(data)}
}

// problem checks that the answer is a whole problem with this status and code, and gives it.
func (a answer) problem(t *testing.T, status int, code string) problem {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status %d, not %d: %s", a.StatusCode, status, a.body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q", got)
	}
	var p problem
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if p.Code != code || p.Status != status {
		t.Errorf("code %s and status %d, not %s and %d", p.Code, p.Status, code, status)
	}
	if p.Type != problemPath+code || p.Title == "" || p.Detail == "" {
		t.Errorf("incomplete: %s", a.body)
	}
	if id, err := uuid.Parse(p.RequestID); err != nil || id.Version() != 7 || p.RequestID != a.Header.Get("X-Request-Id") {
		t.Errorf("request_id %q, X-Request-Id %q", p.RequestID, a.Header.Get("X-Request-Id"))
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers are missing: %v", a.Header)
	}
	return p
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
