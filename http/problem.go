package http

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// problem is the body of every error (RFC 9457). It repeats nothing that the caller sent, and shows nothing internal: no SQL, path, stack
// or host.
type problem struct {
	Type      string  `json:"type" format:"uri-reference" doc:"Names the kind of problem: a page that says what it means and what to do." example:"/api/problems/last_admin"`
	Title     string  `json:"title" doc:"The kind of problem, for a person."`
	Status    int     `json:"status" doc:"The HTTP status."`
	Detail    string  `json:"detail" doc:"What is wrong this time, for a person."`
	Code      string  `json:"code" doc:"The kind of problem, for a program. Stable." example:"last_admin"`
	RequestID string  `json:"request_id" doc:"What the server's log knows this request by."`
	Limit     string  `json:"limit,omitempty" doc:"The limit that was reached, by the name that the operator of Kluis can set it by." example:"signup_ip"`
	Errors    []fault `json:"errors,omitempty" doc:"What is wrong where."`

	Horizon *domain.Horizon `json:"horizon,omitempty" doc:"How far back the log goes, when what was asked for is before that: the position of the last record that was pruned, and its time. There is everything behind it."`

	retryAfter time.Duration
}

// fault is one thing that is wrong with a request.
type fault struct {
	In      string `json:"in" enum:"body,path,query,header" doc:"The part of the request."`
	Pointer string `json:"pointer" doc:"A JSON pointer (RFC 6901) into that part; empty means all of it."`
	Detail  string `json:"detail"`
}

// statusClosed is the status that nginx logs when the caller left before the answer. Only our log has it.
const statusClosed = 499

// plain has the code and the detail of a status without further detail.
var plain = map[int]struct{ code, detail string }{
	http.StatusBadRequest:                   {"malformed_request", "the request is malformed"},
	http.StatusUnauthorized:                 {"unauthenticated", "a valid bearer token is needed"},
	http.StatusForbidden:                    {"forbidden", "this is not permitted"},
	http.StatusNotFound:                     {"not_found", "there is nothing here"},
	http.StatusMethodNotAllowed:             {"method_not_allowed", "this method is not allowed here; the Allow header says which are"},
	http.StatusRequestTimeout:               {"request_timeout", "the request was not sent in time"},
	http.StatusRequestEntityTooLarge:        {"payload_too_large", "the request body is too large"},
	http.StatusRequestedRangeNotSatisfiable: {"range_not_satisfiable", "there are no such bytes; the Content-Range header says how many there are"},
	http.StatusUnsupportedMediaType:         {"unsupported_media_type", "the request body has a media type that is not supported here"},
	http.StatusUnprocessableEntity:          {"invalid", "the request has an invalid value"},
	http.StatusTooManyRequests:              {"too_many_requests", "there were too many requests"},
	statusClosed:                            {"client_closed_request", "the caller left before the answer"},
	http.StatusInternalServerError:          {"internal", "something went wrong; the request id says where to look"},
	http.StatusServiceUnavailable:           {"unavailable", "this is not available at the moment"},
	http.StatusRequestHeaderFieldsTooLarge:  {"headers_too_large", "the request's headers are too large"},
}

var kindStatus = map[domain.Kind]int{
	domain.Invalid:         http.StatusUnprocessableEntity,
	domain.Unauthenticated: http.StatusUnauthorized,
	domain.Forbidden:       http.StatusForbidden,
	domain.NotFound:        http.StatusNotFound,
	domain.Conflict:        http.StatusConflict,
	domain.Stale:           http.StatusPreconditionFailed,
	domain.TooLarge:        http.StatusRequestEntityTooLarge,
	domain.TooMany:         http.StatusTooManyRequests,
	domain.Unavailable:     http.StatusServiceUnavailable,
	domain.Gone:            http.StatusGone,
}

// newProblem is the problem of a status without further detail.
func newProblem(status int) *problem {
	about, ok := plain[status]
	if !ok && status < 500 {
		status = http.StatusBadRequest
		about = plain[status]
	} else if !ok {
		about = plain[http.StatusInternalServerError]
	}
	return codedProblem(status, about.code, about.detail)
}

func codedProblem(status int, code, detail string) *problem {
	title := strings.ReplaceAll(code, "_", " ")
	if title != "" {
		title = strings.ToUpper(title[:1]) + title[1:]
	}
	return &problem{Type: problemPath + code, Title: title, Status: status, Detail: detail, Code: code}
}

// problemOf turns any error into a problem for the caller. An error that is neither a refusal nor a problem is an outage of the database or
// a bug: the log gets the error, and the caller gets the request id. What is not available at the moment is told without a proof of the caller. The proof
// would wait for the same database, and its own outage would hide that a command may have been stored.
func problemOf(ctx context.Context, err error) *problem {
	x := exchangeOf(ctx)
	if !unavailable(err) {
		if refused := x.known(); refused != nil {
			err = refused
		}
	}
	p := translate(ctx, x, err)
	p.RequestID = x.id
	return p
}

func unavailable(err error) bool {
	refusal, refused := domain.Refusal(err)
	_, outage := pg.OutageOf(err)
	return outage || refused && refusal.Kind == domain.Unavailable
}

func translate(ctx context.Context, x *exchange, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		copied := *p
		return &copied
	}
	if refusal, ok := domain.Refusal(err); ok && kindStatus[refusal.Kind] != 0 {
		return x.refused(refusal)
	}
	var routed *echo.HTTPError // echo's own 404 and 405
	if errors.As(err, &routed) && routed.Code < 500 {
		return newProblem(routed.Code)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return newProblem(statusClosed)
	}
	if o, is := pg.OutageOf(err); is {
		return x.outage(ctx, o, err)
	}
	x.log.ErrorContext(ctx, "request failed", "request_id", x.id, "error", err.Error())
	return newProblem(http.StatusInternalServerError)
}

func (x *exchange) refused(e *domain.Error) *problem {
	x.refusals = append(x.refusals, e)
	p := codedProblem(kindStatus[e.Kind], e.Code, e.Detail)
	p.retryAfter, p.Limit, p.Horizon = e.RetryAfter, e.Limit, e.Horizon
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, fault{In: x.in(f.Pointer), Pointer: f.Pointer, Detail: f.Detail})
	}
	return p
}

// in is the part of the request to which the pointer of a refusal points: the parameter of that name, else the body.
func (x *exchange) in(pointer string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
	part := "body"
	if x.op != nil {
		for _, p := range x.op.Parameters {
			if p.Name == name && part != "query" { // an id of the path may be in a query, too
				part = p.In
			}
		}
	}
	return part
}

// Error is for our own log lines: a problem is an error on its way through huma.
func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is huma.ContentTypeFilter: whatever was negotiated, a problem is this.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders is huma.HeadersError.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110, 15.5.2
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(p.retryAfter.Seconds())))))
	}
	return h
}

// write answers with p.
func (p *problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the caller is gone when this fails
}
