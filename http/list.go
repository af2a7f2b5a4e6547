package http

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/danielgtaylor/huma/v2"
)

// Listing is for the input of a list. K is what the list goes on from, such as a position or an id, or a
// struct of several; its JSON is what a cursor holds.
type Listing[K any] struct {
	Limit  int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most."`
	Cursor Cursor[K] `query:"cursor" doc:"Where to go on: the next_cursor of the answer before."`
}

// page is the body of a list.
type page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"The cursor of what follows; null at the end."`
}

// paged makes a page of rows that were asked for with one more than limit: the one more tells that there is
// a next page, which goes on from the key of the last item.
func paged[T, K any](rows []T, limit int, key func(T) K) page[T] {
	p := page[T]{Items: rows}
	if rows == nil {
		p.Items = []T{} // never null
	}
	if len(rows) > limit {
		p.Items = rows[:limit]
		next := Cursor[K]{After: key(rows[limit-1])}.String()
		p.NextCursor = &next
	}
	return p
}

// Cursor says where a list goes on. To callers it is opaque.
type Cursor[K any] struct {
	After K
	Given bool
}

const maxCursor = 1000 // characters

var errCursor = errors.New("expected a next_cursor of this list")

// String is what next_cursor holds: the JSON of After in base64url.
func (c Cursor[K]) String() string {
	data, err := json.Marshal(c.After)
	if err != nil {
		panic(err) // a K that has no JSON: a mistake of ours
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// UnmarshalText reads what String wrote.
func (c *Cursor[K]) UnmarshalText(text []byte) error {
	if len(text) > maxCursor {
		return errCursor
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil || checkJSON(data) != nil || json.Unmarshal(data, &c.After) != nil {
		return errCursor
	}
	if c.String() != string(text) { // other names, other spelling, null: not ours
		return errCursor
	}
	c.Given = true
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Cursor[K]) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	limit := maxCursor
	s.Pattern, s.MaxLength = "^[A-Za-z0-9_-]+$", &limit
	return s
}
