package http

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/domain"
)

// The fields of a PATCH body: absent leaves the thing as it is. Tag them `json:"name,omitzero"`, which tells
// huma that they are not required.

// optional is a field that may be absent, but not null (null.go): Value is nil when it is absent.
type optional[T any] struct{ domain.Optional[T] }

// Schema is huma.SchemaProvider.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

func (optional[T]) inner() reflect.Type { return reflect.TypeFor[T]() }

// nullable is a field that may be absent, and that null clears. The domain takes its Optional.
type nullable[T any] struct{ domain.Optional[T] }

// Schema is huma.SchemaProvider.
func (nullable[T]) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[T](), true, "")
	if s.Ref != "" {
		panic("http: nullable is for plain values, not for " + reflect.TypeFor[T]().String())
	}
	s.Nullable = true
	return s
}

func (nullable[T]) inner() reflect.Type { return reflect.TypeFor[T]() }

// wrapped is what optional and nullable have in common for tighten.
type wrapped interface{ inner() reflect.Type }
