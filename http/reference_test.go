package http

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// Every operation, parameter and field of the API says what it is, and has an example. A field gets both from its doc and example tags,
// or from glossary.go.
func TestEveryFieldIsExplained(t *testing.T) {
	server, err := newServer((&site{t: t, log: &lockedBuffer{}}).options(), nouns)
	if err != nil {
		t.Fatal(err)
	}
	doc := server.api.huma.OpenAPI()
	missing := map[string][]string{}
	lacks := func(what, where string) { missing[what] = append(missing[what], where) }
	for name, s := range doc.Components.Schemas.Map() {
		unexplained(name, s, lacks)
	}
	for path, item := range doc.Paths {
		for _, op := range operationsAt(item) {
			if op.Description == "" {
				lacks("description", path)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					lacks(p.Name+": what it is", op.OperationID)
				}
				if p.Example == nil && len(p.Schema.Examples) == 0 {
					lacks(p.Name+": an example", op.OperationID)
				}
			}
			for status, response := range op.Responses {
				for media, content := range response.Content {
					if strings.HasSuffix(media, "/json") && content.Example == nil {
						lacks("an example of the answer "+status, op.OperationID)
					}
				}
			}
		}
	}
	for name, fields := range apart {
		for _, field := range fields {
			if s := doc.Components.Schemas.Map()[name]; s == nil || s.Properties[field] == nil {
				t.Errorf("apart names %s.%s, which is not in the schema", name, field)
			}
		}
	}
	for _, tag := range doc.Tags {
		if tag.Description == "" {
			t.Errorf("tagWords in http/tags.go does not say what the operations of %s are for: it needs a line\n\t{%q, \"...\"},", tag.Name, tag.Name)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s is missing in %s: http/glossary.go has it for a name, and tags (doc, example) of the field for one place", what, strings.Join(slices.Compact(slices.Sorted(slices.Values(missing[what]))), ", "))
	}
}

func unexplained(name string, s *huma.Schema, lacks func(what, where string)) {
	for field, property := range s.Properties {
		if property.Ref != "" {
			continue
		}
		if property.Description == "" {
			lacks(field+": what it is", name)
		}
		_, composed := composed(nil, property, 0)
		if len(property.Examples) == 0 && !composed {
			lacks(field+": an example", name)
		}
		unexplained(fmt.Sprint(name, ".", field), property, lacks)
		if property.Items != nil {
			unexplained(fmt.Sprint(name, ".", field), property.Items, lacks)
		}
	}
	for _, inner := range slices.Concat(s.OneOf, s.AllOf, s.AnyOf) {
		unexplained(name, inner, lacks)
	}
}
