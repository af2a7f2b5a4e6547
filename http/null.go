package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// refuseNulls refuses a null where the schema has none: huma takes it for an absent field, so that a
// program that meant to set a field would be told that it did. data has passed checkJSON.
func (a *api) refuseNulls(schema *huma.Schema, data []byte) error {
	if !bytes.Contains(data, []byte("null")) {
		return nil
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return newProblem(http.StatusBadRequest)
	}
	found := a.nulls(schema, value, "")
	if found == nil {
		return nil
	}
	invalid := newProblem(http.StatusUnprocessableEntity)
	invalid.Errors = found
	return invalid
}

func (a *api) nulls(s *huma.Schema, value any, pointer string) (found []fault) {
	if s != nil && s.Ref != "" {
		s = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	if s == nil { // an unknown field: huma refuses it
		return nil
	}
	switch v := value.(type) {
	case nil:
		if !s.Nullable {
			return []fault{{In: "body", Pointer: pointer, Detail: "may be left out but not be null"}}
		}
	case map[string]any:
		for name, field := range v {
			found = append(found, a.nulls(s.Properties[name], field, pointer+"/"+escapePointer.Replace(name))...)
		}
	case []any:
		for i, item := range v {
			found = append(found, a.nulls(s.Items, item, pointer+"/"+strconv.Itoa(i))...)
		}
	}
	return found[:min(len(found), maxFaults)]
}
