package http

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// recordSchema makes of a record of the log one of as many schemas as there are types of events, which the type tells apart.
func recordSchema(schemas map[string]*huma.Schema) {
	head := schemas["RecordBody"]
	records := &huma.Schema{Description: "A record of the log, by the type of its event."}
	for _, name := range domain.Types() {
		event, err := domain.Decode(name, []byte("{}"))
		if err != nil {
			panic(err)
		}
		of := reflect.TypeOf(event)
		schemas[of.Name()] = payload(of)
		schemas[of.Name()].Description = fmt.Sprintf("The payload of `%s`.", name)
		record := *head
		record.Description = fmt.Sprintf("`%s` with its place in the log.", name)
		record.Properties = maps.Clone(head.Properties)
		record.Properties["type"] = &huma.Schema{Type: huma.TypeString, Enum: []any{name}}
		record.Properties["data"] = &huma.Schema{Ref: schemaRef + of.Name()}
		schemas[of.Name()+"Record"] = &record
		records.OneOf = append(records.OneOf, &huma.Schema{Ref: schemaRef + of.Name() + "Record"})
	}
	schemas["RecordBody"] = records
}

// payload is the schema of an event. An event of an older version of the program may lack any field that this one writes, so that
// only the test of the payloads in domain/testdata says which are always there.
func payload(of reflect.Type) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	for _, field := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || name == "" {
			continue
		}
		s.Properties[name] = payloadField(field.Type)
		s.Properties[name].Description = field.Tag.Get("doc")
		if options == "" {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

func payloadField(of reflect.Type) *huma.Schema {
	switch of {
	case reflect.TypeFor[uuid.UUID]():
		return &huma.Schema{Type: huma.TypeString, Format: "uuid"}
	case reflect.TypeFor[time.Time]():
		return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
	case reflect.TypeFor[domain.Date]():
		return &huma.Schema{Type: huma.TypeString, Format: "date"}
	case reflect.TypeFor[domain.Personal]():
		return &huma.Schema{Type: huma.TypeString, Examples: []any{"gAAAAABpsealed"}}
	}
	switch of.Kind() {
	case reflect.Pointer:
		s := payloadField(of.Elem())
		s.Nullable = true
		return s
	case reflect.Slice:
		return &huma.Schema{Type: huma.TypeArray, Items: payloadField(of.Elem()), Nullable: true}
	case reflect.Struct:
		if inside, optional := of.FieldByName("Value"); optional { // domain.Optional
			return payloadField(inside.Type)
		}
		return payload(of)
	case reflect.String:
		return &huma.Schema{Type: huma.TypeString}
	case reflect.Int, reflect.Int64:
		return &huma.Schema{Type: huma.TypeInteger}
	case reflect.Bool:
		return &huma.Schema{Type: huma.TypeBoolean}
	case reflect.Float64:
		return &huma.Schema{Type: huma.TypeNumber}
	case reflect.Map, reflect.Interface:
		return &huma.Schema{}
	}
	panic("http: there is no schema for the type " + of.String() + " in an event")
}
