package telemetry

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	api "go.opentelemetry.io/otel/trace"
)

// What is not traced costs nothing: no allocation, whatever is asked of a span.
func TestNoCostWhenOff(t *testing.T) {
	ctx, header, workspace := t.Context(), http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, uuid.New()
	allocations := testing.AllocsPerRun(1000, func() {
		ctx, request := BeginRequest(ctx, header)
		ctx, span := Begin(ctx, "append")
		_, after := BeginAfter(ctx, "fold", workspace, 1, 2)
		span.Stored(workspace, 1, 2)
		span.Int("n", 1)
		span.Text("text", "text")
		span.Seconds("seconds", time.Second)
		span.Failed()
		after.End()
		span.End()
		request.Rename("GET /")
		if request.On() || request.TraceID() != "" {
			t.Error("it is traced")
		}
		request.End()
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// What is remembered of appends has a bound, and links are of the positions asked for, of that workspace.
func TestCommits(t *testing.T) {
	t.Parallel()
	var c commits
	one, two := uuid.New(), uuid.New()
	span := api.NewSpanContext(api.SpanContextConfig{TraceID: api.TraceID{1}, SpanID: api.SpanID{1}})
	for i := range int64(2 * remembered) {
		c.add(commit{one, i, i, span})
	}
	c.add(commit{two, 5, 9, span})
	for _, k := range []struct {
		workspace uuid.UUID
		from, to  int64
		want      int
	}{{two, 9, 9, 1}, {two, 1, 4, 0}, {two, 10, 11, 0}, {one, 0, 9, 0}, {one, 2*remembered - 3, 3 * remembered, 3}, {one, remembered, 2 * remembered, mostLinks}} {
		if links := c.between(k.workspace, k.from, k.to); len(links) != k.want {
			t.Errorf("%+v: %d", k, len(links))
		}
	}
}
