package http

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// The types of query parameters that may be absent. huma knows absence only as a zero value, and the year
// 1 and the id of zeros are values.

// Instant is a parameter that is a time (RFC 3339); Value is nil when it is absent.
type Instant struct{ Value *time.Time }

// UnmarshalText reads a time.
func (i *Instant) UnmarshalText(text []byte) error {
	t, err := domain.ReadInstant(string(text))
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

// Flag is a parameter that is true or false; Value is nil when it is absent.
type Flag struct {
	Is    bool
	Value *bool
}

// Schema is huma.SchemaProvider.
func (Flag) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }

// Receiver is huma.ParamWrapper.
func (f *Flag) Receiver() reflect.Value { return reflect.ValueOf(f).Elem().Field(0) }

// OnParamSet is huma.ParamReactor.
func (f *Flag) OnParamSet(given bool, _ any) {
	if given {
		f.Value = &f.Is
	}
}

// Day is a parameter that is a date; Value is nil when it is absent.
type Day struct{ Value *domain.Date }

// UnmarshalText reads a date.
func (d *Day) UnmarshalText(text []byte) error {
	day := domain.Date(text)
	if !day.Valid() {
		return errors.New("expected a date such as 2026-12-31")
	}
	d.Value = &day
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Day) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Type, s.Format = huma.TypeString, "date"
	return s
}

// Refs is a parameter that is ids, comma separated; Values is nil when it is absent.
type Refs struct{ Values []uuid.UUID }

const (
	maxRefs    = 100 // ids in one parameter
	refPattern = "[0-9a-fA-F-]{36}"
	someRef    = "0197c0de-0000-7000-8000-000000000000"
)

// UnmarshalText reads UUIDs in their canonical form.
func (r *Refs) UnmarshalText(text []byte) error {
	for _, part := range strings.SplitN(string(text), ",", maxRefs+1) {
		var one Ref
		if err := one.UnmarshalText([]byte(part)); err != nil || len(r.Values) == maxRefs {
			return fmt.Errorf("expected up to %d UUIDs, comma separated", maxRefs)
		}
		r.Values = append(r.Values, *one.Value)
	}
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Refs) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return setPattern(s, "^"+refPattern+"(,"+refPattern+")*$", someRef)
}

// RefsOrNone is a parameter that is ids, comma separated, with none among them for no id at all.
type RefsOrNone struct{ projections.IDs }

// UnmarshalText reads UUIDs in their canonical form, and none.
func (r *RefsOrNone) UnmarshalText(text []byte) error {
	for _, part := range strings.SplitN(string(text), ",", maxRefs+1) {
		var one Ref
		switch err := one.UnmarshalText([]byte(part)); {
		case part == "none":
			r.None = true
		case err != nil || len(r.Any) == maxRefs:
			return fmt.Errorf("expected up to %d UUIDs, comma separated, or none", maxRefs)
		default:
			r.Any = append(r.Any, *one.Value)
		}
	}
	return nil
}

func (r RefsOrNone) ids() projections.IDs { return r.IDs }

// TransformSchema is huma.SchemaTransformer.
func (*RefsOrNone) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return setPattern(s, "^("+refPattern+"|none)(,("+refPattern+"|none))*$", someRef)
}

// setPattern says of a parameter that its text has a pattern.
func setPattern(s *huma.Schema, pattern, example string) *huma.Schema {
	longest := maxRefs*37 + len(",none")
	*s = huma.Schema{Type: huma.TypeString, MaxLength: &longest, Extensions: shownPattern(pattern), Description: s.Description, Examples: []any{example}}
	return s
}

// shownPattern is a pattern for readers of the schema, which UnmarshalText checks and huma does not: to compile such patterns for each operation took a third
// of the processor time of a start.
func shownPattern(pattern string) map[string]any { return map[string]any{"pattern": pattern} }

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
