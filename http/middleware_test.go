package http

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTextThatCannotBeStored(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{
		"/api/fail/hunter2%00", "/api/fail/hunter2%ff", "/api/fail/%ed%a0%80", "/api/hunter2%00",
		"/api/things?status=hunter2%00", "/api/things?hunter2%00=1", "/api/things?status=%c0%80",
	} {
		a := s.ask("GET", target, "")
		a.problem(t, 400, "malformed_request")
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s is echoed: %s", target, a.body)
		}
	}
	for _, query := range []string{"%", "%zz", "status=%u0041", "status=open;limit=2"} {
		r, err := http.NewRequest(http.MethodGet, s.URL+"/api/things", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		s.do(r).problem(t, 400, "malformed_request")
	}
}

func TestEscapedPathsAreDecodedOnce(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/api/things/0197c0de%2D0000-7000-8000-00000000000a/complete", 200}, // an escaped hyphen is a hyphen
		{"POST", "/api/things/0197c0de%252D0000-7000-8000-00000000000a/complete", 422},
		{"POST", "/api/things/0197c0de-0000-7000-8000-00000000000a%2Fcomplete", 405}, // an escaped slash separates nothing
		{"POST", "/api/things/%2F/complete", 422},
		{"GET", "/api/fail/a%2Fb", 200},
		{"GET", "/api/fail/a/b", 404},
	} {
		if a := s.ask(test.method, test.target, ""); a.StatusCode != test.status {
			t.Errorf("%s: %d, not %d: %s", test.target, a.StatusCode, test.status, a.body)
		}
	}
}

func TestHeadAndOptions(t *testing.T) {
	s := newSite(t)
	head := s.ask("HEAD", "/api/things", "")
	if head.StatusCode != http.StatusOK || head.body != "" || head.Header.Get("Kluis-Position") != "60" {
		t.Errorf("HEAD: %d %q %v", head.StatusCode, head.body, head.Header)
	}
	if a := s.ask("HEAD", "/api/things", "", "Authorization: -"); a.StatusCode != http.StatusUnauthorized || a.body != "" {
		t.Errorf("HEAD without a token: %d", a.StatusCode)
	}
	if a := s.ask("HEAD", someThing, ""); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "OPTIONS, DELETE, PATCH" {
		t.Errorf("HEAD where there is no GET: %d %q", a.StatusCode, a.Header.Get("Allow"))
	}
	for _, target := range []string{"/api/replay", "/api/replay?follow=true"} { // nothing is read for it, and it ends
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		r := httptest.NewRequest(http.MethodHead, target, nil).WithContext(ctx)
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		s.Config.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ndjson" || w.Body.Len() > 0 || ctx.Err() != nil {
			t.Errorf("HEAD %s: %d %v %s %v", target, w.Code, w.Header(), w.Body, ctx.Err())
		}
		cancel()
	}
	options := s.ask("OPTIONS", "/api/things", "", "Authorization: -", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
	if options.StatusCode != http.StatusNoContent || options.Header.Get("Allow") != "OPTIONS, GET, POST, HEAD" {
		t.Errorf("OPTIONS: %d %v", options.StatusCode, options.Header)
	}
	s.ask("OPTIONS", "/api/hunter2", "").problem(t, 404, "not_found")
	for _, a := range []answer{options, s.ask("GET", "/api/things", "", "Origin: https://evil.example")} {
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", name, a.Header.Get(name))
			}
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{"/api/things", "/api/hunter2", "/healthz", "/api/schema/"} {
		a := s.ask("GET", target, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Server": "",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
}

func TestTheRequestIDIsOurs(t *testing.T) {
	a := newSite(t).ask("GET", "/healthz", "", "X-Request-Id: hunter2")
	if id := a.Header.Get("X-Request-Id"); len(id) != 36 {
		t.Error(id)
	}
}

func TestAccessLog(t *testing.T) {
	s := newSite(t)
	a := s.ask("POST", "/api/things?hunter2=1", `{"title":"hunter2"}`, "User-Agent: hunter2", "X-Forwarded-For: 203.0.113.9", "Cookie: hunter2=1")
	s.ask("HUNTER2", "/api/hunter2", "")
	text := s.log.String()
	for _, secret := range []string{"hunter2", "HUNTER2", "127.0.0.1", "203.0.113.9", "admin"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %s: %s", secret, text)
		}
	}
	var line map[string]any
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&line); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"msg": "request", "method": "POST", "route": "/api/things", "status": 422.0,
		"request_id": a.Header.Get("X-Request-Id"), "workspace": "0197c0de-0000-7000-8000-00000000000a", "network": "127.0.0.0/24",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, not %v", name, line[name], want)
		}
	}
	if member, _ := line["member"].(string); len(member) != 36 {
		t.Errorf("it does not say who: %s", text)
	}
	if !strings.Contains(text, `"method":"OTHER","route":"-","status":404`) {
		t.Error(text)
	}
}

func TestHugeHeaders(t *testing.T) {
	url, stop := serve(t, 0, health)
	for size, status := range map[int]int{maxHeader / 2: 200, 2 * maxHeader: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequest(http.MethodGet, url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Large", strings.Repeat("a", size))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%d bytes: %d", size, response.StatusCode)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHalfAnAnswerIsCut(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{"/api/replay?break=true", "/api/fail/abort"} {
		r, err := http.NewRequest(http.MethodGet, s.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer admin")
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("%s ended with %v", target, err)
		}
	}
	if text := s.log.String(); !strings.Contains(text, `"aborted":true`) || !strings.Contains(text, "stream broke off") {
		t.Error(text)
	}
}

func TestHealth(t *testing.T) {
	s := newSite(t)
	if a := s.ask("GET", "/healthz", "", "Authorization: -"); a.StatusCode != http.StatusOK || strings.TrimSpace(a.body) != `{"status":"ok"}` {
		t.Error(a.StatusCode, a.body)
	}
	if a := s.ask("GET", "/readyz", "", "Authorization: -"); a.StatusCode != http.StatusOK {
		t.Error(a.StatusCode, a.body)
	}
	s.ready = errors.New("dial tcp 10.1.2.3:5432: secret-detail")
	a := s.ask("GET", "/readyz", "")
	a.problem(t, 503, "not_ready")
	if strings.Contains(a.body, "secret-detail") || a.Header.Get("Retry-After") == "" {
		t.Error(a.body, a.Header)
	}
	if a := s.ask("GET", "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Error("not alive when not ready")
	}
}
