package promises

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	kluis "github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/projections"
)

// apiSchema is the schema that a server shows, to walk over and to validate with. kin-openapi reads the document;
// values are checked by the validator that it uses for OpenAPI 3.1 itself, which it would compile anew each time.
type apiSchema struct {
	operations []apiOperation
	compiler   *jsonschema.Compiler
	mu         sync.Mutex
	compiled   map[string]*jsonschema.Schema
}

type apiOperation struct {
	*openapi3.Operation
	id, method, path string
}

var schema = sync.OnceValue(func() *apiSchema {
	server := must(kluis.New(kluis.Options{
		Authenticate: func(context.Context, string) (projections.Actor, error) { return projections.Actor{}, nil },
		Ready:        func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
	}))
	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/schema/", nil))
	s := &apiSchema{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	s.compiler.AssertFormat()
	s.compiler.RegisterFormat(&jsonschema.Format{Name: "email", Validate: anyAddress})
	if err := s.compiler.AddResource("schema.json", must(jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes())))); err != nil {
		panic(err)
	}
	document := must(openapi3.NewLoader().LoadFromData(w.Body.Bytes()))
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			s.operations = append(s.operations, apiOperation{op, op.OperationID, method, path})
		}
	}
	slices.SortFunc(s.operations, func(a, b apiOperation) int { return strings.Compare(a.id, b.id) })
	return s
})

// anyAddress is format email with what RFC 6531 adds: JSON Schema has another name for that, which OpenAPI's tools do not know.
func anyAddress(v any) error {
	if text, ok := v.(string); ok {
		_, err := mail.ParseAddress(text)
		return err
	}
	return nil
}

// find gives the operation that a request is for.
func (s *apiSchema) find(method, path string) (apiOperation, bool) {
	parts := strings.Split(path, "/")
	i := slices.IndexFunc(s.operations, func(op apiOperation) bool { return op.method == method && op.path == path }) // a name before a parameter
	if i >= 0 {
		return s.operations[i], true
	}
	i = slices.IndexFunc(s.operations, func(op apiOperation) bool {
		pattern := strings.Split(op.path, "/")
		return op.method == method && len(pattern) == len(parts) && !slices.ContainsFunc(pattern, func(p string) bool {
			part := parts[slices.Index(pattern, p)]
			return p != part && !strings.HasPrefix(p, "{")
		})
	})
	if i < 0 {
		return apiOperation{}, false
	}
	return s.operations[i], true
}

// check validates a JSON text against the schema at a JSON pointer of the document.
func (s *apiSchema) check(text []byte, pointer ...string) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	at := "schema.json#"
	for _, p := range pointer {
		at += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compiled[at] == nil {
		if s.compiled[at], err = s.compiler.Compile(at); err != nil {
			return err
		}
	}
	return s.compiled[at].Validate(value)
}

// accepts tells whether the schema allows a body.
func (s *apiSchema) accepts(op apiOperation, body []byte) bool {
	return s.check(body, "paths", op.path, strings.ToLower(op.method), "requestBody", "content", "application/json", "schema") == nil
}

// checkAnswer checks an answer against the schema: its status, its headers, its body. Whatever was asked for
// must not end in a failure of ours.
func checkAnswer(t tester, r *http.Request, a reply) {
	t.Helper()
	if a.status >= 500 && a.status != http.StatusServiceUnavailable {
		t.Errorf("%s: %d %s", a.what, a.status, a.body)
	}
	op, known := schema().find(r.Method, r.URL.Path)
	if !known {
		if a.status < 400 && r.Method != http.MethodHead {
			t.Errorf("%s: %d, and not in the schema", a.what, a.status)
		}
		return
	}
	if err := schema().compare(op, a); err != nil && firstTime(t, op.id, a.status) {
		t.Errorf("%s: %d is not as the schema says: %.400v\n%.400s", a.what, a.status, err, a.body)
	}
}

func (s *apiSchema) compare(op apiOperation, a reply) error {
	status := fmt.Sprint(a.status)
	response := op.Responses.Value(status)
	if response == nil && a.status < 400 {
		return fmt.Errorf("the status is not there")
	}
	if response == nil {
		status, response = "default", op.Responses.Default()
	}
	for _, name := range []string{"Kluis-Position", "Kluis-Behind", "ETag", "Retry-After", "WWW-Authenticate", "X-Request-Id", "Location", "RateLimit", "RateLimit-Policy"} {
		if a.header.Get(name) != "" && response.Value.Headers[name] == nil {
			return fmt.Errorf("the header %s is not there", name)
		}
	}
	if at, _ := url.Parse(a.header.Get("Location")); a.status == http.StatusCreated {
		path := strings.Split(at.Path, "/")
		if _, known := s.find(http.MethodGet, at.Path); !known && !slices.ContainsFunc(s.operations, func(op apiOperation) bool { return len(path) > 2 && strings.HasPrefix(op.path, "/api/"+path[2]+"/{") }) {
			return fmt.Errorf("nothing is at its Location, %q", at)
		}
	}
	if len(response.Value.Content) == 0 {
		if len(a.body) > 0 {
			return fmt.Errorf("there is a body")
		}
		return nil
	}
	media := a.header.Get("Content-Type")
	if response.Value.Content[media] == nil && response.Value.Content["*/*"] == nil {
		return fmt.Errorf("the media type %q is not there", media)
	}
	if response.Value.Content[media] == nil || !strings.HasSuffix(media, "json") || strings.HasSuffix(media, "ndjson") {
		return nil
	}
	at := []string{"paths", op.path, strings.ToLower(op.method), "responses", status}
	if response.Ref != "" {
		at = strings.Split(strings.TrimPrefix(response.Ref, "#/"), "/")
	}
	return s.check(a.body, append(at, "content", media, "schema")...)
}

var said sync.Map

// firstTime tells whether a test says something for the first time: one fault of the schema is in many answers.
func firstTime(t tester, what ...any) bool {
	_, again := said.LoadOrStore(fmt.Sprint(t.Name(), what), true)
	return !again
}

// rule is what an operation asks for: a permission, "signed_in", or "public".
func (op apiOperation) rule() string { return fmt.Sprint(op.Extensions["x-required-permission"]) }
