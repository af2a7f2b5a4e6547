package http

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// The types of query parameters that may be absent. huma knows absence only as a zero value, and the year
// 1 and the id of zeros are values.

// Instant is a parameter that is a time (RFC 3339); Value is nil when it is absent.
type Instant struct{ Value *time.Time }

// UnmarshalText reads a time.
func (i *Instant) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return errors.New("expected an instant such as 2026-12-31T23:59:59Z")
	}
	i.Value = &t
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Instant) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Type, s.Format = huma.TypeString, "date-time"
	return s
}

// Refs is a parameter that is ids, comma separated; Values is nil when it is absent.
type Refs struct{ Values []uuid.UUID }

// maxRefs is how many ids a parameter takes.
const maxRefs = 100

// UnmarshalText reads UUIDs in their canonical form.
func (r *Refs) UnmarshalText(text []byte) error {
	for _, part := range strings.SplitN(string(text), ",", maxRefs+1) {
		var one Ref
		if err := one.UnmarshalText([]byte(part)); err != nil {
			return fmt.Errorf("expected up to %d UUIDs, comma separated", maxRefs)
		}
		r.Values = append(r.Values, *one.Value)
	}
	if len(r.Values) > maxRefs {
		return fmt.Errorf("expected up to %d UUIDs, comma separated", maxRefs)
	}
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Refs) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	longest := maxRefs * 37
	s.Type, s.MaxLength, s.Pattern = huma.TypeString, &longest, "^[0-9a-fA-F-]{36}(,[0-9a-fA-F-]{36})*$"
	return s
}

// Ref is a parameter that is an id; Value is nil when it is absent.
type Ref struct{ Value *uuid.UUID }

// UnmarshalText reads a UUID in its canonical form.
func (r *Ref) UnmarshalText(text []byte) error {
	id, err := uuid.Parse(string(text))
	if err != nil || len(text) != 36 {
		return errors.New("expected a UUID such as 0197c0de-0000-7000-8000-000000000000")
	}
	r.Value = &id
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Ref) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Type, s.Format = huma.TypeString, "uuid"
	return s
}
