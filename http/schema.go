package http

import (
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// plainTypes are the types that huma sees only as strings, and that know nothing of huma.
var plainTypes = map[reflect.Type]struct{ format, pattern, description string }{
	reflect.TypeFor[uuid.UUID](): {"uuid", // in its canonical form only, of the four that uuid.Parse takes
		"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
		"a UUID such as 0197c0de-0000-7000-8000-000000000000"},
	reflect.TypeFor[domain.Date](): {"date", // there is no year 0 in Postgres
		`^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}$`,
		"a date such as 2006-01-02"},
}

// enums are the values of fields of domain types: those that answers and requests share have the same in both.
var enums = map[reflect.Type]map[string][]any{
	reflect.TypeFor[domain.Task](): {"status": values(domain.TaskStatuses), "priority": values(domain.TaskPriorities)},
	reflect.TypeFor[domain.Grant](): {"resource": values(parts(func(p domain.Permission) string { return p.Resource })),
		"action": values(parts(func(p domain.Permission) string { return p.Action })), "scope": values(scopes())},
}

func values(names []string) (all []any) {
	for _, n := range names {
		all = append(all, n)
	}
	return all
}

// parts are the resources, or the actions, of all permissions, each once.
func parts(of func(domain.Permission) string) (names []string) {
	for _, p := range domain.Permissions {
		if name := of(p); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// scopes are the widest first. Which resource has which is domain.Scopes, and checked there.
func scopes() (names []string) {
	for _, s := range slices.Backward(domain.EveryScope) {
		names = append(names, string(s))
	}
	return names
}

var wrappedType = reflect.TypeFor[wrapped]()

// tighten says in the schema, and so in the validation, what huma does not see by itself: that ids and
// dates are such, and what headers every answer has.
func (a *api) tighten(method, path string, input reflect.Type) {
	doc := a.huma.OpenAPI()
	op := operationAt(doc.Paths[path], method)
	for _, p := range op.Parameters {
		if f, ok := paramField(input, p.In, p.Name); ok {
			mark(p.Schema, f.Type)
		}
	}
	registry := doc.Components.Schemas
	for name, s := range registry.Map() {
		if a.tightened[name] { // by an operation before, whose schemas stay
			continue
		}
		a.tightened[name] = true
		if t := registry.TypeFromRef("#/components/schemas/" + name); t != nil && t.Kind() == reflect.Struct {
			markFields(s, t)
		}
	}
	op.Responses["4XX"] = op.Responses["default"] // one and the same: some tools look for the one, some for the other
	for status, response := range op.Responses {
		if response.Headers == nil {
			response.Headers = map[string]*huma.Header{}
		}
		if len(op.Security) > 0 || status == "default" {
			response.Headers["RateLimit-Policy"] = textHeader("The limit on the member's requests: how many in how many seconds. Absent when there is none.", `"api_member";q=600;w=60`)
			response.Headers["RateLimit"] = textHeader("What is left of it, and in how many seconds there is more.", `"api_member";r=599;t=60`)
		}
		response.Headers["X-Request-Id"] = textHeader("What the server's log knows this request by.", exampleID)
		if status == "default" {
			response.Headers["Retry-After"] = textHeader("Seconds to wait, with 429 and 503.", "2")
			response.Headers["WWW-Authenticate"] = textHeader("With 401.", "Bearer")
		}
	}
}

func textHeader(description, example string) *huma.Header {
	return &huma.Header{Description: description, Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
}

func operationAt(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case "GET":
		return item.Get
	case "POST":
		return item.Post
	case "PUT":
		return item.Put
	case "PATCH":
		return item.Patch
	case "DELETE":
		return item.Delete
	}
	panic("http: no operation may have the method " + method)
}

// paramField finds the field of an input struct that is the parameter name in part ("path", "query", "header").
func paramField(t reflect.Type, part, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get(part), ","); tag == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func markFields(s *huma.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if property := s.Properties[name]; property != nil {
			mark(property, f.Type)
			if values := enums[t][name]; values != nil {
				property.Enum = values
				property.PrecomputeMessages()
			}
			if f.Type.Kind() == reflect.Pointer && property.Ref == "" {
				property.Nullable = true // a pointer that is left out when empty may come as null all the same
			}
		}
	}
}

// mark says in the schema of a value of type t that it is one of plainTypes, or a list of them.
func mark(s *huma.Schema, t reflect.Type) {
	for {
		plain, ok := plainTypes[t]
		switch {
		case ok:
			if s.Type == huma.TypeString && s.Pattern == "" {
				s.Format, s.Pattern, s.PatternDescription = plain.format, plain.pattern, plain.description
				s.PrecomputeMessages()
			}
			return
		case t.Implements(wrappedType):
			t = reflect.Zero(t).Interface().(wrapped).inner()
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		case t.Kind() == reflect.Slice && s.Items != nil:
			t, s = t.Elem(), s.Items
		default:
			return
		}
	}
}
