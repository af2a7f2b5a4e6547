package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

// tracing makes spans; nil while nobody collects them.
var tracing atomic.Pointer[tracer]

type tracer struct {
	api.Tracer
	commits commits
}

// lastSpans is how long sending the last spans may take when the process ends.
const lastSpans = 5 * time.Second

// Trace sends spans to an OpenTelemetry collector (OTLP over HTTP) until end is called. The settings are those of OpenTelemetry
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/): without an endpoint in OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nothing is traced or sent. No request waits for the collector: 2,048 spans that it does not take are kept,
// and further ones are dropped.
func Trace(ctx context.Context, version string, log *slog.Logger) (end func(), err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	described, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "kluis"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(&failures{log: log})
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(described))
	tracing.Store(&tracer{Tracer: provider.Tracer("github.com/kluis-eu/kluis")})
	return func() {
		tracing.Store(nil)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
		defer cancel()
		if err := provider.Shutdown(within); err != nil {
			log.WarnContext(ctx, "the last spans were not sent", "error", err.Error())
		}
	}, nil
}

// failures logs that spans could not be sent, at most once a minute.
type failures struct {
	log  *slog.Logger
	last atomic.Pointer[time.Time]
}

// Handle implements otel.ErrorHandler.
func (f *failures) Handle(err error) {
	now := time.Now()
	if last := f.last.Load(); (last == nil || now.Sub(*last) >= time.Minute) && f.last.CompareAndSwap(last, &now) {
		f.log.Warn("spans are not sent, and some are dropped", "error", err.Error())
	}
}

// Span is a piece of work that is traced. It is nil while nobody collects spans, and then its methods cost nothing.
type Span struct{ span api.Span }

// Begin begins a span inside that of ctx.
func Begin(ctx context.Context, name string) (context.Context, *Span) {
	t := tracing.Load()
	if t == nil {
		return ctx, nil
	}
	return t.begin(ctx, name)
}

func (t *tracer) begin(ctx context.Context, name string, options ...api.SpanStartOption) (context.Context, *Span) {
	ctx, span := t.Start(ctx, name, options...)
	return ctx, &Span{span}
}

// BeginRequest begins the span of a request. When the header has a trace of the client (W3C Trace Context), the span is part of it.
func BeginRequest(ctx context.Context, header http.Header) (context.Context, *Span) {
	t := tracing.Load()
	if t == nil {
		return ctx, nil
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
	return t.begin(ctx, "request", api.WithSpanKind(api.SpanKindServer))
}

// BeginAfter begins a span of work that follows from events of a workspace's log, with links to the appends of this process that stored them.
func BeginAfter(ctx context.Context, name string, workspace uuid.UUID, from, to int64) (context.Context, *Span) {
	t := tracing.Load()
	if t == nil {
		return ctx, nil
	}
	ctx, s := t.begin(ctx, name, api.WithLinks(t.commits.between(workspace, from, to)...))
	s.in(workspace, from, to)
	return ctx, s
}

// Stored notes on the span of an append where its events are in the log, so that work that follows from them is linked to it.
func (s *Span) Stored(workspace uuid.UUID, from, to int64) {
	if s == nil {
		return
	}
	s.in(workspace, from, to)
	if t := tracing.Load(); t != nil {
		t.commits.add(commit{workspace, from, to, s.span.SpanContext()})
	}
}

func (s *Span) in(workspace uuid.UUID, from, to int64) {
	s.span.SetAttributes(attribute.String("kluis.workspace", workspace.String()), attribute.Int64("kluis.position.from", from), attribute.Int64("kluis.position.to", to))
}

// On tells whether the work is traced. Values that only a span needs are computed only then.
func (s *Span) On() bool { return s != nil }

// TraceID returns the id of the span's trace, 32 hexadecimal digits; empty when the work is not traced.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Rename gives the span another name, when that was not known at the beginning.
func (s *Span) Rename(name string) {
	if s != nil {
		s.span.SetName(name)
	}
}

// Int notes a number.
func (s *Span) Int(key string, n int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(key, n))
	}
}

// Seconds notes a duration.
func (s *Span) Seconds(key string, d time.Duration) {
	if s != nil {
		s.span.SetAttributes(attribute.Float64(key, d.Seconds()))
	}
}

// Text notes a text that names no person: a part of the program, or an id.
func (s *Span) Text(key, text string) {
	if s != nil {
		s.span.SetAttributes(attribute.String(key, text))
	}
}

// Failed notes that the work failed. The reason is in the log, because the text of an error may be none of a collector's business.
func (s *Span) Failed() {
	if s != nil {
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
