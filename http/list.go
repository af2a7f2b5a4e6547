package http

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/projections"
)

// Listing is for the input of a list. K is the key from which the list goes on, such as a position or an id, or a struct of several; a
// cursor has the JSON of it.
type Listing[K any] struct {
	Limit  int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most."`
	Cursor Cursor[K] `query:"cursor" doc:"Where to go on: the next_cursor of the answer before. It fits the list, the filters and the order that it was given for, and no other: 422 invalid_cursor."`
}

// Sorted is for the input of a list of a noun, which lists completes.
type Sorted struct {
	Listing[projections.After]
	Sort        []string `query:"sort" maxItems:"2" doc:"Up to two fields, comma separated, each with - before it for the other direction. Items without a value come last, and first in the other direction; equal items are in the order in which they were made. Left out: the newest first." example:"-updated_at"`
	Total       bool     `query:"total" doc:"Count all that the list has: total."`
	AsOf        Instant  `query:"as_of" doc:"The list as it was at this instant, the newest first. It goes with limit and cursor, and with no other parameter, but for members and roles. A page may have fewer items than limit, even none, and a next_cursor that goes on."`
	Consistency string   `query:"consistency" enum:"eventual" doc:"eventual: answer with what there is, without waiting for what was committed just before; Kluis-Behind says how much is missing. Only where the caller may see everything."`
}

// Trash is for the input of a list of things that can be restored.
type Trash struct {
	Deleted bool `query:"deleted" doc:"Those that are deleted, and no others: what /restore shows again."`
}

func (t Trash) deleted() bool { return t.Deleted }

// page is the body of a list.
type page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"The cursor of what follows; null at the end."`
	Total      *int    `json:"total,omitempty" doc:"How many there are in all, with total=true."`
}

// paged makes a page of rows. The rows were read with a limit of one more: that one row tells that there is a next page, which goes on from
// the key of the last item.
func paged[T, K any](rows []T, in Listing[K], key func(T) K) page[T] {
	p := page[T]{Items: rows}
	if rows == nil {
		p.Items = []T{} // never null
	}
	if len(rows) > in.Limit {
		p.Items = rows[:in.Limit]
		next := Cursor[K]{After: key(rows[in.Limit-1]), list: in.Cursor.list}.String()
		p.NextCursor = &next
	}
	return p
}

// pageWithNext makes a page whose next_cursor leads behind a key. The zero key is the end of the list.
func pageWithNext[T any, K comparable](rows []T, in Listing[K], after K) page[T] {
	p := paged(rows, in, func(T) (none K) { return none })
	var end K
	if after != end {
		next := Cursor[K]{After: after, list: in.Cursor.list}.String()
		p.NextCursor = &next
	}
	return p
}

// pageReader reads the rows of a page, and one more when there is more.
type pageReader[I, R any] func(ctx context.Context, by projections.Actor, in *I, page projections.Page) ([]R, projections.Mark, error)

// listed is a pointer to an input that embeds Sorted.
type listed[I any] interface {
	*I
	sorted() *Sorted
}

// lists declares the list of a noun whose states are answered as they are stored.
func lists[I any, P listed[I], T any](a *api, op operation, noun *projections.Noun[T], read pageReader[I, projections.Shown]) {
	was := rowOf[projections.Shown, T](nil, encoded[T])
	listsOf[I, P](a, op, noun, read, was, projections.AfterShown, func(p page[projections.Shown]) storedPage[T] { return storedPage[T]{p} })
}

// listsMade declares the list of a noun whose answers are made from states.
func listsMade[I any, P listed[I], R, T any](a *api, op operation, noun *projections.Noun[T], row row[R, T], read pageReader[I, R]) {
	after := func(r R, sort []string) projections.After { return noun.After(row.state(r), sort) }
	listsOf[I, P](a, op, noun, read, row, after, func(p page[R]) page[R] { return p })
}

func listsOf[I any, P listed[I], R, T, B any](a *api, op operation, noun *projections.Noun[T], read pageReader[I, R], row row[R, T], after func(R, []string) projections.After, bodyOf func(page[R]) B) {
	register(a, op, func(ctx context.Context, by projections.Actor, in *I) (*shows[B], error) {
		sorted := P(in).sorted()
		asked := sorted.page()
		if sorted.AsOf.Value != nil && row.asOf != nil {
			body, mark, err := listAsOf(ctx, a, noun, row, by, sorted, parentTask(in), *sorted.AsOf.Value)
			return &shows[B]{queryHeaders(mark, 0), bodyOf(body)}, err
		}
		if t, has := any(in).(interface{ deleted() bool }); has {
			asked.Deleted = t.deleted()
		}
		if t, has := any(in).(interface{ text() string }); has {
			asked.Text = t.text()
		}
		rows, mark, err := read(ctx, by, in, asked)
		if err != nil {
			return nil, err
		}
		body := paged(rows, sorted.Listing, func(r R) projections.After { return after(r, sorted.Sort) })
		body.Total = asked.Total
		return &shows[B]{queryHeaders(mark, 0), bodyOf(body)}, nil
	})
	for _, p := range operationAt(a.huma.OpenAPI().Paths[op.Path], op.Method).Parameters {
		if p.Name == "sort" {
			for _, name := range noun.SortedBy() {
				p.Schema.Items.Enum = append(p.Schema.Items.Enum, name, "-"+name)
			}
			p.Schema.Items.PrecomputeMessages()
		}
	}
}

// stored is a state in its stored JSON, which is copied into the answer. To clients it is a T.
type stored[T any] struct{ of projections.Shown }

// Schema is huma.SchemaProvider.
func (stored[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

func (s stored[T]) appendJSON(out []byte) ([]byte, error) { //nolint:unparam // as that of storedPage
	return append(out, s.of...), nil
}

// storedPage is a page of states in their stored JSON, which is copied into the answer. To clients it is a page of T.
type storedPage[T any] struct{ of page[projections.Shown] }

// Schema is huma.SchemaProvider.
func (storedPage[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[page[T]](), true, "")
}

// appendJSON appends the page as encoding/json would, without reading the states again.
func (p storedPage[T]) appendJSON(out []byte) ([]byte, error) {
	size := 200
	for _, item := range p.of.Items {
		size += len(item) + 1
	}
	out = append(slices.Grow(out, size), `{"items":[`...)
	for i, item := range p.of.Items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	rest, err := json.Marshal(struct {
		NextCursor *string `json:"next_cursor"`
		Total      *int    `json:"total,omitempty"`
	}{p.of.NextCursor, p.of.Total})
	if err != nil {
		return nil, err
	}
	return append(append(out, `],`...), rest[1:]...), nil
}

func (s *Sorted) sorted() *Sorted { return s }

// page is the part of the list that the caller wants.
func (s *Sorted) page() projections.Page {
	p := projections.Page{Limit: s.Limit, Sort: s.Sort, Eventual: s.Consistency != ""}
	if s.Cursor.Given {
		p.After = &s.Cursor.After
	}
	if s.Total {
		p.Total = new(int)
	}
	return p
}

// Cursor says where a list goes on. For callers it is opaque text. It holds the list that it fits and the key in After. It is no secret: a
// caller who makes one up gets nothing that the list does not have.
type Cursor[K any] struct {
	After K
	Given bool

	text string // as it came
	list string // that it fits
}

const maxCursor = 1000 // characters

// String is what next_cursor holds, in base64url.
func (c Cursor[K]) String() string {
	data, err := json.Marshal([]any{c.list, c.After})
	if err != nil {
		panic(err) // a K that has no JSON: a mistake of ours
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// UnmarshalText keeps what String wrote until bind knows the list.
func (c *Cursor[K]) UnmarshalText(text []byte) error {
	c.text = string(text)
	return nil
}

// bind tells the cursor which list this is, and refuses a cursor of another list.
func (l *Listing[K]) bind(list string) error {
	c := &l.Cursor
	c.list = list
	if c.text == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(c.text)
	var parts []json.RawMessage
	if len(c.text) > maxCursor || err != nil || checkJSON(data) != nil || json.Unmarshal(data, &parts) != nil || len(parts) != 2 ||
		json.Unmarshal(parts[1], &c.After) != nil || c.String() != c.text { // other names, other spelling, null, another list
		return projections.InvalidCursor()
	}
	c.Given = true
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*Cursor[K]) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	limit := maxCursor
	s.MaxLength = &limit
	return s
}

// ofPaging are the parameters that change neither the content of a list nor its order.
var ofPaging = []string{"limit", "cursor", "total", "consistency"}

// list names the list that a request is for: the workspace, the path, filters and order.
func (x *exchange) list(by projections.Actor) string {
	query, _ := url.ParseQuery(x.query) // what cannot be read was refused
	for _, name := range ofPaging {
		query.Del(name)
	}
	sum := sha256.Sum256([]byte(by.Workspace.ID.String() + " " + x.path + "?" + query.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
