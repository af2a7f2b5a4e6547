package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/projections"
)

// exchange is one request and its answer, as far as this package needs to remember them. A request's context holds nothing else of ours but
// the note of headAsGet. Only this package reads the fields: handlers get the caller as an argument.
type exchange struct {
	id       string // ours; a client's X-Request-Id is not taken over, so that an id names one request
	method   string
	path     string // as sent, decoded
	query    string // as sent
	head     bool   // it was HEAD, which headAsGet made GET
	log      *slog.Logger
	span     *telemetry.Span // nil when nobody collects spans
	client   netip.Addr
	agent    string
	actor    *projections.Actor // set by identify; nil for the public
	claim    *projections.Claim // that it is still the actor, until that is known
	prove    func() error       // set by identify: finds out who asks, in a round trip of its own, and whether they may
	op       *huma.Operation    // set by authorise
	refusals []*domain.Error    // that the caller was answered with: of a bulk request as many as there were
	header   http.Header        // of the answer
	body     []byte             // set by body.go: a JSON body, checked; nil when there is none
	parts    *form              // set by body.go: a multipart body, to be read once
	length   int64              // of the body, as the headers have it; -1 when they do not say
	tooLarge bool               // set by body.go when the body went over its limit
	aborted  bool               // the answer broke off
	streams  bool               // the answer has no end of its own
	throttle *logThrottle       // of the server
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{log: slog.Default()} // outside of a request: huma asks for an example problem
}

// observe gives the request its id and writes the access log. A query, an address, a name or a header may hold personal data or secrets, so
// none of them is logged; of the address the network is.
func (a *api) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		r := c.Request()
		x := &exchange{
			id:       newRequestID(),
			method:   r.Method,
			path:     r.URL.Path,
			query:    r.URL.RawQuery,
			head:     r.Context().Value(headKey{}) != nil,
			log:      a.Log,
			client:   clientAddress(r, a.TrustedProxies),
			agent:    userAgent(r),
			length:   r.ContentLength,
			throttle: &a.throttle,
			header:   c.Response().Header(),
		}
		ctx := r.Context()
		if !isProbe(r.URL.Path) {
			ctx, x.span = telemetry.BeginRequest(ctx, r.Header)
		}
		c.SetRequest(r.WithContext(context.WithValue(ctx, exchangeKey{}, x)))
		c.Response().Header().Set("X-Request-Id", x.id)
		// errors mean that there is no connection to set it on
		_ = http.NewResponseController(c.Response()).SetWriteDeadline(start.Add(writeTimeout))
		defer func() { x.logAccess(c, time.Since(start)) }()
		if err := next(c); err != nil {
			c.Error(err)
		}
		return nil
	}
}

func (x *exchange) logAccess(c echo.Context, took time.Duration) {
	level, route := slog.LevelInfo, c.Path()
	if route == "" {
		route = "-"
	}
	if isProbe(route) {
		level = slog.LevelDebug
	}
	status := c.Response().Status
	x.trace(route, status)
	telemetry.Requests.WithLabelValues(knownMethod(x.method), route, strconv.Itoa(status)).Inc()
	if !x.streams {
		telemetry.RequestSeconds.WithLabelValues(knownMethod(x.method), route).Observe(took.Seconds())
	}
	attrs := []slog.Attr{
		slog.String("method", knownMethod(x.method)),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.String("request_id", x.id),
	}
	if x.client.IsValid() {
		networks := limit.Networks(x.client)
		attrs = append(attrs, slog.String("network", networks[len(networks)-1])) // the widest: a /24, or a /48
	}
	if x.actor != nil {
		attrs = append(attrs, x.who()...)
	}
	if x.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if x.span.On() {
		attrs = append(attrs, slog.String("trace_id", x.span.TraceID()))
	}
	x.log.LogAttrs(c.Request().Context(), level, "request", attrs...)
}

// isProbe tells whether a route is one that monitoring asks for all the time.
func isProbe(route string) bool {
	return route == healthPath || route == readyPath || route == metricsPath
}

// trace ends the span of the request. The span has the operation, the status and the workspace, and nothing about a person or the content
// of the request.
func (x *exchange) trace(route string, status int) {
	if !x.span.On() {
		return
	}
	x.span.Rename(knownMethod(x.method) + " " + route)
	x.span.Text("http.request.method", knownMethod(x.method))
	x.span.Text("http.route", route)
	x.span.Int("http.response.status_code", int64(status))
	if x.actor != nil {
		x.span.Text("kluis.workspace", x.actor.Workspace.ID.String())
	}
	if status >= http.StatusInternalServerError {
		x.span.Failed()
	}
	x.span.End()
}

// who gives the caller for the log, by ids that mean nothing once the member is erased, and the workspace.
func (x *exchange) who() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("workspace", cmp.Or(x.actor.Slug, x.actor.Workspace.ID.String())),
		slog.String("member", x.actor.Member.String()),
	}
	if x.actor.Token != uuid.Nil {
		attrs = append(attrs, slog.String("token", x.actor.Token.String()))
	}
	return attrs
}

func newRequestID() string {
	id, err := uuid.NewV7()
	if err != nil { // no randomness: nothing else works either
		return uuid.Nil.String()
	}
	return id.String()
}

// knownMethod keeps methods that a caller has made up out of the log.
func knownMethod(m string) string {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
	if slices.Contains(known, m) {
		return m
	}
	return "OTHER"
}

// recoverPanics answers a panic with 500 and goes on. When a part of the answer is out already, it cuts the connection, so that the caller
// does not take the part for the whole.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			x := exchangeOf(c.Request().Context())
			cause, _ := v.(error)
			abort := errors.Is(cause, http.ErrAbortHandler)
			if !abort {
				x.log.Error("panic", "request_id", x.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			if abort || c.Response().Committed {
				x.aborted = true
				panic(http.ErrAbortHandler)
			}
			err = newProblem(http.StatusInternalServerError)
		}()
		return next(c)
	}
}

// answerError answers errors that no handler has answered: echo's own 404 and 405, and those of the middleware here.
func answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := problemOf(c.Request().Context(), err)
	h := c.Response().Header()
	for _, name := range []string{"ETag", "Content-Length", "Kluis-Position", "Kluis-Behind"} {
		h.Del(name) // of an answer that was begun
	}
	p.write(c.Response())
}

// secure sets what every answer carries. The documentation pages, which run scripts, loosen it (docs.go).
func secure(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		c.Response().Before(func() { // echo does not know of headAsGet
			if allow := h.Get("Allow"); strings.Contains(allow, "GET") {
				h.Set("Allow", allow+", HEAD")
			}
		})
		return next(c)
	}
}

// storableTarget refuses a path or query that is not text: Postgres stores neither NUL nor invalid UTF-8,
// and url.Query drops in silence what it cannot read.
func storableTarget(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			return codedProblem(http.StatusBadRequest, "malformed_request", "the query string is malformed")
		}
		ok := storable(u.Path)
		for name, values := range query {
			ok = ok && storable(name) && !slices.ContainsFunc(values, func(v string) bool { return !storable(v) })
		}
		if !ok {
			return codedProblem(http.StatusBadRequest, "malformed_request", "the path or query holds a NUL character or is not UTF-8")
		}
		return next(c)
	}
}

func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

type headKey struct{}

// headAsGet lets HEAD answer wherever GET does (RFC 9110, 9.1); net/http leaves the body out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true)) // a copy: net/http looks at the method of its own
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}
