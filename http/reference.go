package http

import (
	_ "embed"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const schemaRef = "#/components/schemas/"

//go:embed introduction.md
var introduction string

// reference makes of the declarations what people can learn from: an introduction, what each tag, field and parameter is, an example
// of each, the payloads of all events.
func reference(doc *huma.OpenAPI) {
	doc.Info.Description = introduction
	schemas := doc.Components.Schemas.Map()
	if schemas["RecordBody"] != nil {
		recordSchema(schemas)
	}
	for name, s := range schemas {
		explainSchema(name, s)
	}
	doc.Components.Responses = map[string]*huma.Response{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, op := range operationsAt(doc.Paths[path]) {
			explainOperation(doc, schemas, op)
		}
	}
	describeTags(doc)
}

func operationsAt(item *huma.PathItem) (all []*huma.Operation) {
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op != nil {
			all = append(all, op)
		}
	}
	return all
}

// explainSchema describes the fields of a schema, and those inside of it.
func explainSchema(name string, s *huma.Schema) {
	if s.Description == "" {
		s.Description = schemaWords[name]
	}
	for field, property := range s.Properties {
		own := *property // fields of one type may share a schema
		s.Properties[field] = &own
		explainField(name, field, &own)
	}
	for _, inner := range slices.Concat(s.OneOf, s.AllOf, s.AnyOf) {
		explainSchema(name, inner)
	}
}

func explainField(of, field string, s *huma.Schema) {
	if s.Ref != "" {
		return
	}
	about, known := glossary[of+"."+field]
	if !known {
		about = glossary[field]
	}
	if s.Description == "" {
		s.Description = about.about
	}
	if len(s.Examples) == 0 {
		if example := exampleOf(s, about.example); example != nil {
			s.Examples = []any{example}
		}
	}
	explainSchema(of, s)
	if s.Items != nil && s.Items.Ref == "" {
		explainSchema(of, s.Items)
	}
}

// The examples of what has no word of its own.
const (
	exampleID   = "019c0a3e-5b1c-7c11-9f0e-2a54c3c1d9a0"
	exampleTime = "2026-03-02T09:30:00Z"
	exampleDate = "2026-03-31"
)

// exampleOf is an example of a value: what its word says, where that is of the type, or what the type allows. It is nil when
// the example is made of those of its fields.
func exampleOf(s *huma.Schema, word any) any {
	switch {
	case len(s.Enum) > 0:
		if slices.Contains(s.Enum, word) {
			return word
		}
		return s.Enum[0]
	case s.Format == "uuid":
		return exampleID
	case s.Format == "date-time":
		return exampleTime
	case s.Format == "date":
		return exampleDate
	}
	switch s.Type {
	case huma.TypeArray:
		if list, ok := word.([]any); ok {
			return list
		}
		if s.Items != nil && s.Items.Ref == "" {
			if one := exampleOf(s.Items, word); one != nil {
				return []any{one}
			}
		}
		return nil
	case huma.TypeBoolean:
		return word == true
	case huma.TypeInteger, huma.TypeNumber:
		if _, is := word.(int); !is {
			return nil
		}
		return word
	case huma.TypeString:
		if text, is := word.(string); !is || s.MaxLength != nil && len(text) > *s.MaxLength {
			return nil
		}
		return word
	case huma.TypeObject:
		return nil
	}
	return word
}

// apart are the fields of bodies that an example of the whole leaves out, so that a request with the rest is accepted: they come
// instead of another field, or are for a thing of another kind.
var apart = map[string][]string{
	"BulkOperation":    {"id"},
	"BulkTask":         {"before", "after"},
	"MemberInviteBody": {"placeholder_id"},
	"ReceiverFields":   {"ca", "credentials", "subject"},
	"ReceiverPatch":    {"ca", "credentials", "subject"},
	"TaskPatch":        {"before"},
	"TimeFields":       {"minutes"},
	"TimePatch":        {"minutes"},
	"TimerEnd":         {"end"},
}

// composed is an example of a whole value, made of those of its fields; false when there is none.
func composed(schemas map[string]*huma.Schema, s *huma.Schema, depth int) (any, bool) {
	name, is := strings.CutPrefix(s.Ref, schemaRef)
	if is {
		s = schemas[name]
	}
	switch {
	case depth > 8 || s == nil:
		return nil, false
	case len(s.Examples) > 0:
		return s.Examples[0], true
	case len(s.AllOf) > 0:
		whole := map[string]any{}
		for _, part := range s.AllOf {
			if example, ok := composed(schemas, part, depth+1); ok {
				maps.Copy(whole, example.(map[string]any))
			}
		}
		return whole, true
	case len(s.OneOf) > 0:
		return composed(schemas, s.OneOf[0], depth+1)
	case s.Type == huma.TypeArray && s.Items != nil:
		if one, ok := composed(schemas, s.Items, depth+1); ok {
			return []any{one}, true
		}
		return []any{}, true
	case s.Type == huma.TypeObject:
		whole := map[string]any{}
		for field, property := range s.Properties {
			example, ok := composed(schemas, property, depth+1)
			switch {
			case slices.Contains(apart[name], field):
			case ok:
				whole[field] = example
			case slices.Contains(s.Required, field):
				return nil, false
			}
		}
		return whole, true
	}
	return exampleOf(s, nil), exampleOf(s, nil) != nil
}

func explainOperation(doc *huma.OpenAPI, schemas map[string]*huma.Schema, op *huma.Operation) {
	if op.Description == "" {
		op.Description = op.Summary
		if !strings.HasSuffix(op.Summary, "?") {
			op.Description += "."
		}
	}
	for _, p := range op.Parameters {
		about := glossary[p.Name]
		if p.Description == "" {
			p.Description = about.about
		}
		if p.Schema.Items != nil && len(p.Schema.Items.Enum) > 0 { // the list of a noun has completed them
			p.Schema.Examples = []any{[]any{p.Schema.Items.Enum[0]}}
		}
		if p.Example == nil && len(p.Schema.Examples) == 0 {
			p.Example = exampleOf(p.Schema, about.example)
		}
	}
	if op.RequestBody != nil {
		exemplify(schemas, op.RequestBody.Content)
	}
	for status, response := range op.Responses {
		exemplify(schemas, response.Content)
		if status == "default" || status == "4XX" {
			doc.Components.Responses["Problem"] = response
			op.Responses[status] = &huma.Response{Ref: "#/components/responses/Problem"}
		}
	}
}

func exemplify(schemas map[string]*huma.Schema, content map[string]*huma.MediaType) {
	for media, m := range content {
		if m.Schema == nil || m.Example != nil || len(m.Examples) > 0 || !strings.HasSuffix(media, "json") || strings.HasSuffix(media, "ndjson") {
			continue
		}
		explainField("", "", m.Schema)
		if example, ok := composed(schemas, m.Schema, 0); ok {
			m.Example = example
		}
	}
}
