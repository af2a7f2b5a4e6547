package demo

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// The server here misbehaves on purpose. run_test.go has the real one.
func misbehaving(t *testing.T, patience time.Duration, answers ...func(http.ResponseWriter)) (*client, func() []*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var asked []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Test-Body", string(body))
		asked = append(asked, r)
		answers[min(len(asked), len(answers))-1](w)
	}))
	t.Cleanup(server.Close)
	return newClient(Options{URL: server.URL, Workers: 2, Patience: patience}), func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

func says(status int, code, retryAfter string) func(http.ResponseWriter) {
	limit := map[int]string{http.StatusTooManyRequests: "signup_ip"}[status]
	return func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"because","request_id":"r-1","limit":%q,"errors":[{"pointer":"/x","detail":"is bad"}],"id":"7"}`, status, code, limit)
	}
}

func cuts(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "100")
	fmt.Fprint(w, "half of")
	panic(http.ErrAbortHandler)
}

func TestSentAgainWithTheSameKey(t *testing.T) {
	c, asked := misbehaving(t, time.Minute,
		cuts, says(503, "busy", ""), says(409, "idempotency_key_in_use", ""), says(502, "", ""), says(429, "too_many_requests", "1"), says(201, "", ""))
	start := time.Now()
	var into struct{ ID string }
	a, err := c.call(t.Context(), request{method: "POST", path: "/x", token: "t", key: "k", body: map[string]int{"n": 1}}, &into)
	if err != nil || a.status != 201 || a.attempts != 6 || into.ID != "7" {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, r := range asked() {
		if r.Header.Get("Idempotency-Key") != "k" || r.Header.Get("Authorization") != "Bearer t" || r.Header.Get("Test-Body") != `{"n":1}` {
			t.Errorf("sent again as %v", r.Header)
		}
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("Retry-After was not waited for: %s", took)
	}
	for _, why := range []string{"connection lost", "503 busy", "409 idempotency_key_in_use", "502", "429 too_many_requests signup_ip"} {
		if c.again[why] != 1 {
			t.Errorf("%s: %v", why, c.again)
		}
	}
}

func TestNotSentAgain(t *testing.T) {
	for _, status := range []int{200, 302, 400, 401, 403, 404, 409, 412, 422, 500} {
		c, asked := misbehaving(t, time.Minute, says(status, "some_code", ""))
		a, err := c.send(t.Context(), request{method: "POST", path: "/x"})
		if err != nil || a.status != status || len(asked()) != 1 {
			t.Errorf("%d: %d requests, %v", status, len(asked()), err)
		}
	}
	c, asked := misbehaving(t, time.Minute, cuts)
	if _, err := c.send(t.Context(), request{method: "POST", path: "/x", once: true}); err == nil || len(asked()) != 1 {
		t.Errorf("%d requests, %v", len(asked()), err)
	}
}

func TestGivenUp(t *testing.T) {
	c, _ := misbehaving(t, 300*time.Millisecond, says(503, "busy", ""))
	_, err := c.send(t.Context(), request{method: "GET", path: "/x"})
	var lost *unansweredError
	if !errors.As(err, &lost) || !refused(err, "busy") || err.Error() != "GET /x: given up: 503 busy: because; /x is bad (request r-1)" {
		t.Error(err)
	}
	c, asked := misbehaving(t, time.Hour, says(429, "too_many_requests", "3600"))
	_, err = c.send(t.Context(), request{method: "GET", path: "/x"})
	if !errors.As(err, &lost) || lost.wait < time.Hour || len(asked()) != 1 {
		t.Error(err, len(asked()))
	}
}

// Four orgs need four sign-ups; a limit ends the run at once, and says what to do.
func TestSignUpLimit(t *testing.T) {
	c, _ := misbehaving(t, time.Minute, says(429, "too_many_requests", "1800"))
	s := &stage{client: c}
	_, err := s.open(t.Context(), &orgPlan{name: "o4"})
	if err == nil || !strings.Contains(err.Error(), `org "o4": sign up: `) || !strings.Contains(err.Error(), "the limit is signup_ip, for another 3") ||
		!strings.Contains(err.Error(), "signup_ip=off in KLUIS_LIMITS") {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestNoKluis(t *testing.T) {
	c, _ := misbehaving(t, time.Minute, says(200, "", ""))
	if err := c.isKluis(t.Context()); err == nil || !strings.Contains(err.Error(), "is no Kluis") {
		t.Error(err)
	}
	c.base = "http://127.0.0.1:1"
	if err := c.isKluis(t.Context()); err == nil || !strings.Contains(err.Error(), "make run") {
		t.Error(err)
	}
	for _, url := range []string{"", "127.0.0.1:8080", "ftp://x", "http://"} {
		if _, err := Run(t.Context(), Options{URL: url}); err == nil || !strings.Contains(err.Error(), "is not the URL of a server") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
