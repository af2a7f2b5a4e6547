package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// spans are the spans that a collector got.
type spans struct {
	mu   sync.Mutex
	all  []*trace.Span
	text strings.Builder // what is in them, but for ids of spans, which are any bytes
}

// collect runs a collector (OTLP over HTTP), and gives the setting for it.
func collect(t *testing.T) (s *spans, setting string) {
	t.Helper()
	s = &spans{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &got)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, of := range got.ResourceSpans {
			fmt.Fprintln(&s.text, of.Resource)
			for _, scope := range of.ScopeSpans {
				s.all = append(s.all, scope.Spans...)
				for _, span := range scope.Spans {
					fmt.Fprintln(&s.text, span.Name, span.Attributes, span.Status, len(span.Events))
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return s, "OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL
}

// find gives the spans that match.
func (s *spans) find(is func(*trace.Span) bool) (found []*trace.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.all {
		if is(span) {
			found = append(found, span)
		}
	}
	return found
}

// attribute gives an attribute of a span, as text.
func attribute(s *trace.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// A collector gets the request in the caller's trace, the append inside it, and the fold into the read models linked to that. It gets nothing about a person,
// and no written text.
func TestTraces(t *testing.T) {
	t.Parallel()
	got, setting := collect(t)
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, setting, "OTEL_BSP_SCHEDULE_DELAY=50")
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	var appended *trace.Span
	until(t, "a fold is linked to the append of a request", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/tasks", strings.NewReader(`{"title": "Paint the door"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+ann.token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		ann.want(t, http.StatusOK, "GET", "/api/tasks", "")
		linked := map[string]bool{}
		for _, fold := range got.find(func(s *trace.Span) bool { return s.Name == "fold" }) {
			for _, link := range fold.Links {
				linked[hex.EncodeToString(link.SpanId)] = true
			}
		}
		for _, one := range got.find(func(s *trace.Span) bool { return s.Name == "append" && hex.EncodeToString(s.TraceId) == id }) {
			if linked[hex.EncodeToString(one.SpanId)] {
				appended = one
			}
		}
		return appended != nil
	})
	requests := got.find(func(s *trace.Span) bool { return string(s.SpanId) == string(appended.ParentSpanId) })
	if len(requests) != 1 || requests[0].Name != "POST /api/tasks" || hex.EncodeToString(requests[0].ParentSpanId) != "00f067aa0ba902b7" ||
		!strings.Contains(attribute(requests[0], "http.response.status_code"), "201") || attribute(requests[0], "kluis.workspace") == "" {
		t.Errorf("the request is %v", requests)
	}
	if attribute(appended, "kluis.batch") == "" || attribute(appended, "kluis.wait_seconds") == "" || attribute(appended, "kluis.position.to") == "" {
		t.Errorf("the append is %v", appended)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	for _, secret := range []string{"acme", "Ann", "Paint", ann.token, "@"} {
		if strings.Contains(got.text.String(), secret) {
			t.Errorf("a collector learns %q", secret)
		}
	}
}

// A collector that accepts nothing delays nobody: the server serves, and ends.
func TestTracesGoNowhere(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+hanging.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	s := h.serve(t)
	s.signUp(t, "acme").task(t, "one")
	s.stop(t)
}
