package http

import (
	"context"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/projections"
)

// operation declares one operation. The first seven fields are required.
type operation struct {
	Method  string
	Path    string // "/api/tasks/{id}"
	ID      string // kebab-case: what generated clients name their function after
	Summary string
	Tag     string // the noun
	Status  int    // of a success
	Access  access // who may: public, signedIn or needs(domain.ReadTask)

	Description string
	MaxBody     int64         // bytes; 0 means 1 MiB
	BodyTimeout time.Duration // to send the body; 0 means 30 s
	File        string        // the field of a multipart body that is a file, which the handler reads as it comes (upload.go)
	ReadsFirst  bool          // a command that reads before it does anything else: see projections.Claim
	Made        string        // where the thing is that a 201 is about, such as "/api/comments/{id}"; empty: below Path, by the id in the answer
	Produces    string        // the media type of an answer that is a function (stream.go)
	Parts       bool          // such an answer can be had in parts (content.go)
	Lines       reflect.Type  // what each line of such an answer holds, in JSON; nil when it has no lines
	OrProduces  []produces    // what such an answer may be instead; then a header of the output is its Content-Type
}

// produces is a media type of an answer.
type produces struct {
	media string
	holds reflect.Type // what the JSON of it is; nil for any text
}

const (
	accessKey      = "access"
	maxBodyKey     = "max body"
	bodyTimeoutKey = "body timeout"
	producesKey    = "produces"
	readsFirstKey  = "reads_first"
	bearerScheme   = "bearer"

	defaultMaxBody = 1 << 20
)

// register declares an operation for callers that are signed in. handle gets the caller, whose permission was checked; by.Role.Grants.Scope
// says how far that permission reaches. Declare a command by a member with command instead.
//
// I and O are huma's input and output structs: fields tagged path, query or header, and Body.
func register[I, O any](a *api, op operation, handle func(ctx context.Context, by projections.Actor, in *I) (*O, error)) {
	if op.Access == public {
		panic("http: " + op.ID + " is public: use registerPublic")
	}
	add(a, op, func(ctx context.Context, in *I) (*O, error) {
		x := exchangeOf(ctx)
		if x.actor == nil { // authorise let nobody through without one
			return nil, newProblem(http.StatusForbidden)
		}
		answer := func(ctx context.Context) (*O, error) {
			if l, is := any(in).(interface{ bind(list string) error }); is {
				if err := l.bind(x.list(*x.actor)); err != nil {
					return nil, err
				}
			}
			return handle(ctx, *x.actor, in)
		}
		if claim := x.claim; claim != nil {
			out, err := answer(projections.Claiming(ctx, claim))
			if claim.Held() {
				x.claim = nil
				return out, err
			}
			if err := x.prove(); err != nil { // and the answer is thrown away
				return nil, err
			}
			if claim.Sent() {
				return nil, err
			}
		}
		return answer(ctx)
	})
}

// registerPublic declares an operation that anybody may call.
func registerPublic[I, O any](a *api, op operation, handle func(ctx context.Context, in *I) (*O, error)) {
	if op.Access != public && op.Access != (access{}) {
		panic("http: " + op.ID + " is not public: use register")
	}
	add(a, op, handle)
}

func add[I, O any](a *api, op operation, handle func(context.Context, *I) (*O, error)) {
	op.Made = op.made()
	op.checkMade(reflect.TypeFor[O]())
	described := op.describe(a)
	huma.Register(a.huma, described, func(ctx context.Context, in *I) (*O, error) {
		within, cancel := op.patience(ctx)
		defer cancel()
		out, err := handle(within, in)
		if err != nil {
			return nil, problemOf(ctx, err)
		}
		op.located(ctx, out)
		return out, nil
	})
	registered := operationAt(a.huma.OpenAPI().Paths[op.Path], op.Method)
	if op.File != "" { // not before: huma would read the body
		registered.RequestBody = fileBody(op.File)
	}
	if op.Parts {
		describeRanges(registered.Responses)
	}
	a.tighten(op.Method, op.Path, reflect.TypeFor[I]())
	allowTaskKey(op.Path, registered.Parameters)
	if op.Made != "" {
		registered.Responses[strconv.Itoa(op.Status)].Headers["Location"] = textHeader("Where the new thing is.", strings.ReplaceAll(op.Made, "{id}", exampleID))
	}
	op.checkStruct(reflect.TypeFor[I]())
	op.checkStruct(reflect.TypeFor[O]())
	op.check(a)
}

// answerTimeout is how long the work on a request takes at most, counted from the end of its body. An append needs less time to find out
// its outcome, and most callers wait longer.
const answerTimeout = 25 * time.Second

// patience bounds the time of the work on a request. A stream, in either direction, ends with its caller.
func (op operation) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if op.Produces != "" || op.File != "" {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, answerTimeout)
}

// checkStruct refuses an embedded struct whose name is not exported, because huma leaves the fields of such a struct out without a word.
func (op operation) checkStruct(t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous && !f.IsExported() {
			panic("http: " + op.ID + ": huma does not see the fields of the embedded " + f.Name + "; export its name")
		}
		if f.Name == "Body" && f.Type.Kind() == reflect.Struct {
			op.checkStruct(f.Type)
		}
	}
}

// check refuses a path parameter that is no field of the input, because nobody would parse it.
func (op operation) check(a *api) {
	parameters := operationAt(a.huma.OpenAPI().Paths[op.Path], op.Method).Parameters
	for _, name := range pathParameter.FindAllStringSubmatch(op.Path, -1) {
		if !slices.ContainsFunc(parameters, func(p *huma.Param) bool { return p.In == "path" && p.Name == name[1] }) {
			panic("http: " + op.ID + ": no field of its input is the path parameter " + name[1])
		}
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// describe translates an operation for huma.
func (op operation) describe(a *api) huma.Operation {
	if op.Access == (access{}) {
		panic("http: " + op.Method + " " + op.Path + " does not say who may call it")
	}
	if op.Method == "" || op.Path == "" || op.ID == "" || op.Summary == "" || op.Tag == "" || op.Status == 0 {
		panic("http: " + op.Method + " " + op.Path + " needs a method, path, id, summary, tag and status")
	}
	for _, key := range []string{op.ID, op.Method + " " + op.Path} {
		if a.registered[key] {
			panic("http: there are two of " + key)
		}
		a.registered[key] = true
	}
	if op.MaxBody == 0 {
		op.MaxBody = defaultMaxBody
	}
	if op.BodyTimeout == 0 {
		op.BodyTimeout = readTimeout
	}
	described := huma.Operation{
		Method: op.Method, Path: op.Path, OperationID: op.ID, Summary: op.Summary, Tags: []string{op.Tag},
		DefaultStatus: op.Status,
		Description:   op.Access.explain(op.Description),
		Metadata: map[string]any{
			accessKey: op.Access, maxBodyKey: op.MaxBody, bodyTimeoutKey: op.BodyTimeout, producesKey: op.Produces,
			readsFirstKey: op.ReadsFirst || op.Method == http.MethodGet && op.Produces == "",
		},
		Extensions:   op.Access.extensions(),
		Security:     op.Access.security(),
		MaxBodyBytes: -1, BodyReadTimeout: -1, // body.go has read it by then
	}
	if op.Method != http.MethodGet && op.Method != http.MethodDelete {
		described.Extensions["x-max-body"] = op.MaxBody // bytes
	}
	if !slices.ContainsFunc(a.huma.OpenAPI().Tags, func(t *huma.Tag) bool { return t.Name == op.Tag }) {
		a.huma.OpenAPI().Tags = append(a.huma.OpenAPI().Tags, &huma.Tag{Name: op.Tag})
	}
	if op.Produces != "" {
		described.Responses = map[string]*huma.Response{strconv.Itoa(op.Status): {
			Description: http.StatusText(op.Status),
			Content:     map[string]*huma.MediaType{op.Produces: {Schema: op.produced(a)}},
		}}
		for _, or := range op.OrProduces {
			described.Metadata[producesKey] = ""
			s := &huma.Schema{Type: huma.TypeString}
			if or.holds != nil {
				s = a.huma.OpenAPI().Components.Schemas.Schema(or.holds, true, "")
			}
			described.Responses[strconv.Itoa(op.Status)].Content[or.media] = &huma.MediaType{Schema: s}
		}
	}
	return described
}

// produced is the schema of an answer that is a function. A text of lines says what a line is as JSON Schema says it of
// texts that hold something else (2020-12, Validation 8.5): OpenAPI 3.1 has no other word for it.
func (op operation) produced(a *api) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	if op.Parts {
		s.Format = "binary"
	}
	if op.Lines != nil {
		line := a.huma.OpenAPI().Components.Schemas.Schema(op.Lines, true, "")
		s.Description = "Lines, each of which is one JSON value of contentSchema."
		s.Extensions = map[string]any{"contentMediaType": op.Produces, "contentSchema": line}
	}
	return s
}
