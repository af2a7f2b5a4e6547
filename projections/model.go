package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// models are all read models. A new noun adds its line.
var models = []model{
	Workspaces,
	Members,
	Roles,
	Policies,
	Projects,
	Tasks,
	TaskKeys,
	TaskExternals,
	TaskSubtasks,
	Tags,
	Comments,
	TimeEntries,
	Attachments,
	Storages,
	Imports,
	Exports,
	Integrations,
	Receivers,
	Tokens,
	Search,
}

// table is a table that a rebuild makes again.
type table interface {
	table() string
	columnList() string
}

// tables gives the tables of the read models, and those of the sums over their rows.
func tables() (all []table) {
	for _, m := range models {
		all = append(all, m)
	}
	return append(all, timeSums)
}

// model is a read model: which rows a record changes, and how rows are loaded, folded and stored.
type model interface {
	table
	row(r domain.Record) (uuid.UUID, bool) // the row that the record changes
	fold() fold
	lay(ctx context.Context, tx *pg.Tx, baselines []eventstore.Baseline) error // stores rows from baselines in an empty table
	rows(baselines []eventstore.Baseline) ([]pg.Statement, error)              // gives the statements for the same
	streams() string                                                           // the name of the stream of a row, for the id of zeros
	folded(records []domain.Record) any
	names() []string
	stored(ctx context.Context, tx *pg.Tx, from uuid.UUID, limit int) ([]StoredRow, error)
}

// Folded gives the states that Apply alone makes of a log, by table, as JSON arrays. The rows must be equal to them.
func Folded(records []domain.Record) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, m := range models {
		states, err := json.Marshal(m.folded(records))
		if err != nil {
			return nil, fmt.Errorf("fold %s: %w", m.table(), err)
		}
		all[m.table()] = states
	}
	return all, nil
}

// fold is the work on one page of records for one read model.
type fold interface {
	add(id uuid.UUID, r *domain.Record)
	loads() int                       // how many rows exist already, at most
	split(room int) (part, rest fold) // part loads at most room rows; rest is nil when nothing remains
	load() []pg.Statement             // the rows that the page changes
	apply()
	store(ctx context.Context, tx *pg.Tx) ([]pg.Statement, error) // gives the statements that the caller still has to run
}

// Model is a read model whose rows are states of type T, in a table whose columns are T's JSON fields.
type Model[T any] struct {
	name   string
	stream func(id uuid.UUID) string
	rowOf  func(r domain.Record) (uuid.UUID, bool)
	apply  func(state *T, r domain.Record)
	id     func(T) uuid.UUID
	shared bool // all rows have one stream

	sums *sums // of the rows; nil for none

	elsewhere string // SQL of the positions of records in other streams that change the rows $1; empty for none

	columns []string
	selects string // rows by id
	pages   string // rows from an id on
	upserts string
}

// newModel makes a read model. Its SQL is made once, from the names in our own struct.
func newModel[T any](name string, stream func(uuid.UUID) string, rowOf func(domain.Record) (uuid.UUID, bool), apply func(*T, domain.Record), id func(T) uuid.UUID) *Model[T] {
	names := jsonNames[T]()
	updates := make([]string, len(names))
	for i, n := range inSQL(names) {
		updates[i] = n + " = excluded." + n
	}
	return &Model[T]{
		name: name, stream: stream, rowOf: rowOf, apply: apply, id: id, columns: names, shared: stream(uuid.Nil) == stream(uuid.Max),
		selects: fmt.Sprintf(`select %s from %s where id = any($1)`, readable[T](name, names, nil), name),
		pages:   fmt.Sprintf(`select %s from %s where id >= $1 order by id limit $2`, readable[T](name, names, nil), name),
		upserts: fmt.Sprintf(`insert into %[1]s (%[2]s) select %[2]s from json_populate_recordset(null::%[1]s, $1::text::json)
			on conflict (id) do update set %[3]s`, name, strings.Join(inSQL(names), ", "), strings.Join(updates, ", ")),
	}
}

// alsoAt says that records in other streams change the rows, too; positions is SQL for the positions of such records.
func (m *Model[T]) alsoAt(positions string) *Model[T] {
	m.elsewhere = positions
	return m
}

// summed says that sums over the rows are kept.
func (m *Model[T]) summed(s *sums) *Model[T] {
	m.sums = s
	return m
}

// readable gives the SQL that selects columns in a form that scans into the fields of T: domain.Date and Words as texts. as gives expressions
// for columns that are selected in another form.
func readable[T any](table string, names []string, as map[string]string) string {
	t := reflect.TypeFor[T]()
	columns := make([]string, len(names))
	for i, name := range names {
		columns[i] = table + "." + name
		if t.Field(i).Type == reflect.TypeFor[*domain.Date]() || t.Field(i).Type == reflect.TypeFor[Words]() {
			columns[i] += "::text"
		}
		if expression, ok := as[name]; ok {
			columns[i] = expression + " as " + name
		}
	}
	return strings.Join(columns, ", ")
}

// jsonNames gives the JSON names of the fields of T, in their order.
func jsonNames[T any]() (names []string) {
	t := reflect.TypeFor[T]()
	if known, ok := namesIn.Load(t); ok {
		return known.([]string)
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	namesIn.Store(t, names)
	return names
}

var namesIn sync.Map // the jsonNames by type, which are never changed

// inSQL quotes the names of columns that are keywords of SQL.
func inSQL(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		if name == "end" {
			names[i] = `"end"`
		}
	}
	return names
}

// ofKind gives the rowOf of a noun with a stream for each thing: "<kind>-<uuid>".
func ofKind(kind string) func(domain.Record) (uuid.UUID, bool) {
	return func(r domain.Record) (uuid.UUID, bool) { return domain.StreamID(kind, r.Stream) }
}

func (m *Model[T]) table() string                         { return m.name }
func (m *Model[T]) columnList() string                    { return strings.Join(inSQL(m.columns), ", ") }
func (m *Model[T]) row(r domain.Record) (uuid.UUID, bool) { return m.rowOf(r) }
func (m *Model[T]) fold() fold                            { return &page[T]{model: m, rows: map[uuid.UUID]*change[T]{}} }

func (m *Model[T]) folded(records []domain.Record) any {
	rows := map[uuid.UUID]*T{}
	for _, r := range records {
		if id, ok := m.rowOf(r); ok {
			if rows[id] == nil {
				rows[id] = new(T)
			}
			m.apply(rows[id], r)
		}
	}
	return slices.AppendSeq([]*T{}, maps.Values(rows))
}

// Fold gives the state that the records of one thing make. The records begin with the oldest.
func (m *Model[T]) Fold(records []domain.Record) (state T) {
	for _, r := range records {
		m.apply(&state, r)
	}
	return state
}

// Apply folds one more record into a state.
func (m *Model[T]) Apply(state *T, r domain.Record) { m.apply(state, r) }

// ID gives the id of a state.
func (m *Model[T]) ID(state T) uuid.UUID { return m.id(state) }

// Row gives the id of the thing that a record changes; uuid.Nil when it is none of this model's.
func (m *Model[T]) Row(r domain.Record) uuid.UUID {
	id, _ := m.rowOf(r)
	return id
}

// Changes tells whether a record changes one thing of this model.
func (m *Model[T]) Changes(r domain.Record, id uuid.UUID) bool {
	row, ok := m.rowOf(r)
	return ok && row == id
}

// At gives the state that a thing had at a position of the log.
func (m *Model[T]) At(ctx context.Context, p *Projections, w pg.Workspace, id uuid.UUID, position int64) (state T, err error) {
	stories, _, err := m.stories(ctx, p, w, []uuid.UUID{id}, position, nil)
	return stories[id].end(m), err
}

// story is what the log has of one thing: the state that pruned events made, and the records behind that, the oldest first.
type story[T any] struct {
	base    T
	records []domain.Record
}

// end is the state that a story comes to.
func (s story[T]) end(m *Model[T]) T {
	for _, r := range s.records {
		m.apply(&s.base, r)
	}
	return s.base
}

// stories gives the stories of some things, up to a position and a moment (nil for any), with the head of the log at that time.
func (m *Model[T]) stories(ctx context.Context, p *Projections, w pg.Workspace, ids []uuid.UUID, upTo int64, until *time.Time) (map[uuid.UUID]story[T], eventstore.Head, error) {
	var head eventstore.Head
	var stored []eventstore.Record
	var pruned []eventstore.Baseline
	var others []int64
	if m.elsewhere != "" {
		//sqlcheck:allow a constant of the noun
		if err := p.db.Read(ctx, w, pg.Collect(&others, pgx.RowTo[int64], m.elsewhere, ids)); err != nil {
			return nil, head, err
		}
	}
	all := make(map[uuid.UUID]story[T], len(ids))
	var streams []string
	for _, id := range ids {
		all[id] = story[T]{}
		streams = append(streams, m.stream(id))
	}
	streams = slices.Compact(streams) // things may share a stream
	err := p.db.Read(ctx, w, eventstore.LookHead(&head), eventstore.BaselinesOf(&pruned, m.name, ids), eventstore.Streams(&stored, streams, others, upTo, until))
	if err != nil {
		return nil, head, err
	}
	for _, b := range pruned {
		state, err := m.stateOf(b)
		if err != nil {
			return nil, head, err
		}
		all[b.ID] = story[T]{base: state}
	}
	records, err := Decode(stored)
	for _, r := range records {
		id, changes := m.rowOf(r)
		if s, asked := all[id]; asked && changes {
			s.records = append(s.records, r)
			all[id] = s
		}
	}
	return all, head, err
}

// page is the fold of one page of records into one read model.
type page[T any] struct {
	model *Model[T]
	order []uuid.UUID
	rows  map[uuid.UUID]*change[T] // those of order, and when the page was split, of its other parts
	found []T
}

type change[T any] struct {
	state   T
	begins  bool // the stream begins in this page, so there is no row yet
	stored  bool // the row existed before this page
	records []*domain.Record
}

func (p *page[T]) add(id uuid.UUID, r *domain.Record) {
	c := p.rows[id]
	if c == nil {
		c = &change[T]{begins: r.Version == 1 && !p.model.shared && strings.HasSuffix(r.Stream, p.model.stream(id))}
		p.rows[id] = c
		p.order = append(p.order, id)
	}
	c.records = append(c.records, r)
}

func (p *page[T]) loads() (n int) {
	for _, id := range p.order {
		if !p.rows[id].begins {
			n++
		}
	}
	return n
}

func (p *page[T]) split(room int) (part, rest fold) {
	n := 0
	for i, id := range p.order {
		if p.rows[id].begins {
			continue
		}
		if n++; n > room {
			return &page[T]{model: p.model, rows: p.rows, order: p.order[:i]}, &page[T]{model: p.model, rows: p.rows, order: p.order[i:]}
		}
	}
	return p, nil
}

func (p *page[T]) load() []pg.Statement {
	var ids []uuid.UUID
	for _, id := range p.order {
		if !p.rows[id].begins {
			ids = append(ids, id)
		}
	}
	if ids == nil {
		return nil
	}
	//sqlcheck:allow made once, of the names in our own struct
	return []pg.Statement{pg.Rows(&p.found, p.model.selects, ids)}
}

func (p *page[T]) apply() {
	for _, state := range p.found {
		c := p.rows[p.model.id(state)]
		c.state, c.stored = state, true
	}
	for _, id := range p.order {
		c := p.rows[id]
		for _, r := range c.records {
			p.model.apply(&c.state, *r)
		}
	}
}

// copyFrom is the number of new rows from which COPY is used. COPY takes a fifth of the work and one more round trip.
const copyFrom = 100

func (p *page[T]) store(ctx context.Context, tx *pg.Tx) ([]pg.Statement, error) {
	fresh, again := []*T{}, []*T{}
	var were []uuid.UUID
	for _, id := range p.order {
		if c := p.rows[id]; c.stored {
			again, were = append(again, &c.state), append(were, id)
		} else {
			fresh = append(fresh, &c.state)
		}
	}
	if len(fresh) < copyFrom {
		again = append(again, fresh...)
	} else if err := tx.Copy(ctx, p.model.name, p.model.columns, len(fresh), func(i int) ([]any, error) { return values(fresh[i]), nil }); err != nil {
		return nil, fmt.Errorf("copy rows of %s: %w", p.model.name, err)
	}
	upsert, err := p.upsert(again)
	return slices.Concat(p.model.sums.without(were), upsert, p.model.sums.with(p.order)), err
}

func (p *page[T]) upsert(states []*T) ([]pg.Statement, error) {
	if len(states) == 0 {
		return nil, nil
	}
	rows, err := json.Marshal(states)
	if err != nil {
		return nil, fmt.Errorf("encode rows of %s: %w", p.model.name, err)
	}
	//sqlcheck:allow made once, of the names in our own struct
	return []pg.Statement{pg.Exec(p.model.upserts, string(rows))}, nil
}

// values gives the fields of a state for COPY. An id has the driver's own type, because the driver would send a driver.Valuer as text.
func values[T any](state *T) []any {
	v := reflect.ValueOf(state).Elem()
	all := make([]any, v.NumField())
	for i := range all {
		all[i] = v.Field(i).Interface()
		switch value := all[i].(type) {
		case uuid.UUID:
			all[i] = pgtype.UUID{Bytes: value, Valid: true}
		case *uuid.UUID:
			all[i] = (*[16]byte)(value)
		case []uuid.UUID:
			ids := make(pgtype.FlatArray[pgtype.UUID], len(value))
			for j, id := range value {
				ids[j] = pgtype.UUID{Bytes: id, Valid: true}
			}
			all[i] = ids
		case *domain.Date:
			all[i] = (*string)(value)
		case Words:
			all[i] = value.vector()
		}
	}
	return all
}
