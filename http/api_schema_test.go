package http_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	kluis "github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/projections"
)

// document is the schema that a server shows.
var document = sync.OnceValue(func() *openapi3.T {
	server := must(kluis.New(kluis.Options{
		Authenticate: func(context.Context, string) (projections.Actor, error) { return projections.Actor{}, nil },
		Ready:        func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
	}))
	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/schema/", nil))
	return must(openapi3.NewLoader().LoadFromData(w.Body.Bytes()))
})

var router = sync.OnceValue(func() routers.Router { return must(gorillamux.NewRouter(document())) })

// checkAnswer checks an answer against the schema: its status, its headers, its body. Whatever was asked
// must not be a failure of ours.
func checkAnswer(t testing.TB, r *http.Request, a reply) {
	t.Helper()
	if a.status >= 500 && a.status != http.StatusServiceUnavailable {
		t.Errorf("%s: %d %s", a.what, a.status, a.body)
		return
	}
	route, _, err := router().FindRoute(r)
	if err != nil {
		if a.status < 400 {
			t.Errorf("%s: %d, but %v", a.what, a.status, err)
		}
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route},
		Status:                 a.status, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	input.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s: %d is not as the schema says: %v", a.what, a.status, err)
	}
}

