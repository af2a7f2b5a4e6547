package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Noun is a read model of things that members work with. One predicate decides which things a caller may see. The queries for one thing, for a
// list and for a decision all contain that predicate. They are made once, from constants and from the field names of T.
type Noun[T any] struct {
	*Model[T]
	sight           Sight
	lists           Lists
	get, load       string
	getAll, loadAll string // the same, unscoped
	all             string // the query of All
	were            string // the query of ListAsOf for the ids
	show            string // the query that shows given states as get and list do; empty when these show stored columns

	shown, from string // the columns as they are shown, and where they are from
	chosen      string // the condition on the things of a list, with the parameters of choose
	next        int    // the number of the next parameter
	filter      filter

	parts  []part // the nouns whose things are in the histories of this noun's things
	partOf string // the query for the ids of the things in the history of the thing $4
}

// Sight says in SQL which things of a noun a member sees. $2 is the member, and each column carries the name of its table.
type Sight struct {
	Read    domain.Permission // whose scope is $1
	Own     string            // the things that scope own reaches
	Project string            // the column with the id of the thing's project; empty when things are in no project, or in that of Within
	Gone    string            // the column that is set when the thing is deleted; empty when things are never deleted
	Within  *Within           // the thing that a caller must see as well; scope own also shows what is within the caller's own
	Told    *Within           // the thing whose history includes this one, for a noun without Within; a noun with Within needs no Told
	As      map[string]string // columns that are shown as expressions of other things at the moment {at}, instead of their stored values
}

// Within is the thing that a thing belongs to, such as the task of a comment.
type Within struct {
	table   string
	key     string // the column with its id
	stream  func(uuid.UUID) string
	sight   Sight // with the scope $3
	thing   thingOf
	addPart func(part) // adds a noun to its histories
}

// within says that a thing belongs to the one of another noun whose id is in the column key.
func within[T any](other *Noun[T], key string) *Within {
	return &Within{table: other.name, key: key, stream: other.stream, sight: other.sight, thing: other.thing,
		addPart: func(p part) { other.parts = append(other.parts, p) }}
}

// visible gives the condition on things that a scope shows; scope is the parameter with the scope. The condition is domain.Grants.Reaches for
// reading, in SQL.
func (s Sight) visible(scope string) string {
	if w := s.Within; w != nil {
		return s.showed(scope) + " and " + w.sight.Gone + " is null"
	}
	return s.showed(scope)
}

// showed is visible, but includes things within a deleted one, for views of the past.
func (s Sight) showed(scope string) string {
	own := s.Own
	if s.Within != nil {
		own += " or " + s.Within.sight.Own
	}
	shown := scope + " = 'all' or " + scope + " in ('own', 'project') and (" + own + ")"
	if s.project() != "" {
		shown += " or " + scope + " = 'project' and " + s.inProject()
	}
	if w := s.Within; w != nil {
		return "(" + shown + ") and " + w.sight.showed("$3")
	}
	return "(" + shown + ")"
}

// gone gives the condition on deleted things.
func (s Sight) gone() string {
	if s.Gone == "" {
		return "false"
	}
	return "(" + s.Gone + " is not null)"
}

// project gives the column with the id of the thing's project.
func (s Sight) project() string {
	if s.Project == "" && s.Within != nil {
		return s.Within.sight.Project
	}
	return s.Project
}

// inProject gives the condition on things in projects of the member. The query looks these projects up once and can use any index on the
// column, so that no table is read in whole for scope project.
func (s Sight) inProject() string {
	if s.project() == "" {
		return "false"
	}
	return s.project() + " = any (array(select mine.id from project as mine where mine.member_ids @> array[$2::uuid]))"
}

// newNoun makes a noun of a read model.
func newNoun[T domain.WithParts](m *Model[T], s Sight, l Lists) *Noun[T] {
	columns, from := readable[T](m.name, m.columns, nil), " from "+m.name
	parent := nobody + ", 0"
	if w := s.Within; w != nil {
		from += " join " + w.table + " on " + w.table + ".id = " + w.key
		parent = w.table + ".id, " + w.table + ".version"
	}
	gone := s.gone()
	at := m.name + ".version"
	if m.shared { // the version of the last change of any thing
		at = "(select max(version) from " + m.name + ")"
	}
	if m.stream(uuid.Nil) == domain.RosterStream { // several read models are made from that stream
		at = "(select roster from checkpoint)"
	}
	visible, id := s.visible("$1"), m.name+".id"
	project := nobody + ", 0"
	if column := s.project(); column != "" {
		project = "coalesce(" + column + ", " + nobody + "), coalesce((select version from project as its where its.id = " + column + "), 0)"
	}
	shown, show := strings.ReplaceAll(readable[T](m.name, m.columns, s.As), "{at}", "'infinity'::timestamptz"), ""
	if s.As != nil {
		show = "select " + strings.ReplaceAll(readable[T](m.name, m.columns, s.As), "{at}", "coalesce($5::timestamptz, 'infinity')") +
			" from json_populate_recordset(null::" + m.name + ", $4::text::json) as " + m.name + " where $1::text is not null and $2::uuid is not null and $3::text is not null"
	}
	filter := newFilter(m.name, l, 5)
	chosen := "(" + gone + ") = $4 and " + visible + " and $2::uuid is not null and $3::text is not null" + filter.where
	n := &Noun[T]{
		Model: m, sight: s, show: show, lists: l, filter: filter, shown: shown, from: from, chosen: chosen, next: filter.next,
		get: "select " + shown + from + " where " + id + " = $4 and ($5 or not " + gone + " and " + visible + ") and " + s.showed("$1") + " and $2::uuid is not null and $3::text is not null",
		all: "select " + shown + from + " where " + visible + " and $2::uuid is not null and $3::text is not null",
		load: "select " + columns + ", coalesce(" + visible + ", false), coalesce(" + s.Own + ", false), coalesce(" + s.inProject() + ", false), " +
			gone + ", " + at + ", " + parent + ", " + project + from + " where " + id + " = any($4::uuid[]) and $2::uuid is not null and $3::text is not null",
	}
	n.getAll, n.loadAll = unscoped(n.get), unscoped(n.load)
	n.were = n.wereThere()
	for _, w := range []*Within{s.Within, s.Told} {
		if w != nil {
			n.partOf = "select " + id + from + " where " + w.key + " = $4 and " + s.showed("$1") + " and $2::uuid is not null and $3::text is not null order by " + id
			w.addPart(n)
		}
	}
	return n
}

// nobody is the id of zeros, which no thing has.
const nobody = "'00000000-0000-0000-0000-000000000000'::uuid"

// scopes gives the parameters $1 to $3 of every query of a noun.
func (s Sight) scopes(by Actor) []any {
	within := domain.All
	if s.Within != nil {
		within = by.Scope(s.Within.sight.Read)
	}
	return []any{by.Scope(s.Read), by.Member, within}
}

// unscoped turns a query of a noun into one for a caller with scope all. Postgres then removes the conditions that are always true, with their
// tables.
var unscoped = strings.NewReplacer("$1 = 'all'", "true", "$3 = 'all'", "true").Replace

// seesAll tells whether unscoped fits the scopes of a query.
func seesAll(scopes []any) bool { return scopes[0] == domain.All && scopes[2] == domain.All }

// Get answers with one thing that the actor may see.
func (n *Noun[T]) Get(ctx context.Context, p *Projections, by Actor, id uuid.UUID) (T, Mark, error) {
	return n.getState(ctx, p, by, id, false)
}

// GetGone is Get that also finds deleted things, as far as the caller saw them before.
func (n *Noun[T]) GetGone(ctx context.Context, p *Projections, by Actor, id uuid.UUID) (T, Mark, error) {
	return n.getState(ctx, p, by, id, true)
}

func (n *Noun[T]) getState(ctx context.Context, p *Projections, by Actor, id uuid.UUID, gone bool) (T, Mark, error) {
	return getAs[T](ctx, n, p, by, id, gone)
}

// GetShown is Get for callers that pass the state on without decoding. It also gives the version.
func (n *Noun[T]) GetShown(ctx context.Context, p *Projections, by Actor, id uuid.UUID) (Shown, int, Mark, error) {
	shown, mark, err := getAs[Shown](ctx, n, p, by, id, false)
	if err != nil {
		return nil, 0, mark, err
	}
	var is struct {
		Version int `json:"version"`
	}
	err = json.Unmarshal(shown, &is)
	return shown, is.Version, mark, err
}

func getAs[R, T any](ctx context.Context, n *Noun[T], p *Projections, by Actor, id uuid.UUID, gone bool) (R, Mark, error) {
	scopes, query := n.sight.scopes(by), n.get
	if seesAll(scopes) {
		query = n.getAll
	}
	return get[R](ctx, p, by.Workspace, n.name, query, append(scopes, id, gone)...) //sqlcheck:allow made once, of constants
}

// Show gives a state, such as the result of a command, in the form in which Get shows it to the actor at a moment; nil means now.
func (n *Noun[T]) Show(ctx context.Context, p *Projections, by Actor, state T, at *time.Time) (T, error) {
	states := []T{state}
	err := n.showAll(ctx, p, by, states, at)
	return states[0], err
}

// showAll is Show for several states, in place.
func (n *Noun[T]) showAll(ctx context.Context, p *Projections, by Actor, states []T, at *time.Time) error {
	differs := func(state T) bool {
		return slices.ContainsFunc(n.columns, func(column string) bool { return n.sight.As[column] != "" && hasValue(state, column) })
	}
	if !slices.ContainsFunc(states, differs) {
		return nil
	}
	rows, err := json.Marshal(states)
	if err != nil {
		return fmt.Errorf("encode rows of %s: %w", n.name, err)
	}
	var shown []T
	//sqlcheck:allow made once, of constants
	_, err = p.Fresh(ctx, by.Workspace, pg.Rows(&shown, n.show, append(n.sight.scopes(by), string(rows), at)...))
	copy(states, shown) // in their order
	return err
}

// hasValue tells whether a column of the state is not empty, so that As may show it otherwise.
func hasValue[T any](state T, column string) bool {
	value := reflect.ValueOf(state).Field(field[T](column))
	return !value.IsZero() && (value.Kind() != reflect.Slice || value.Len() > 0)
}

// Row is a thing with the facts that a decision on it needs.
type Row[T any] struct {
	State   T
	Visible bool         // to the actor
	Reach   domain.Reach // of the actor, to change it
	Gone    bool
	At      int // the version of the stream that a decision on it writes to

	WithinID       uuid.UUID // the thing that it belongs to; uuid.Nil for none
	WithinVersion  int
	ProjectID      uuid.UUID // the project in which it is; uuid.Nil for none
	ProjectVersion int
}

// Guards gives the guards on the other things on which a decision about p depends: the thing that this one belongs to and, when the actor
// reaches things through projects, the project.
func (n *Noun[T]) Guards(row Row[T], by Actor, p domain.Permission) (guards []eventstore.Guard) {
	if row.WithinID != uuid.Nil {
		guards = append(guards, eventstore.Guard{Stream: n.sight.Within.stream(row.WithinID), Version: row.WithinVersion})
	}
	return append(guards, ProjectGuard(by, row.ProjectID, row.ProjectVersion, append(n.reads(), p)...)...)
}

// ProjectGuard guards the project of a thing, when one of the permissions on which a decision depends has the scope project.
func ProjectGuard(by Actor, project uuid.UUID, version int, relied ...domain.Permission) []eventstore.Guard {
	byProject := func(p domain.Permission) bool { return by.Scope(p) == domain.InProject }
	if project == uuid.Nil || !slices.ContainsFunc(relied, byProject) {
		return nil
	}
	return []eventstore.Guard{{Stream: domain.ProjectStream(project), Version: version}}
}

// reads gives the permissions that a caller needs to see a thing.
func (n *Noun[T]) reads() []domain.Permission {
	if n.sight.Within == nil {
		return []domain.Permission{n.sight.Read}
	}
	return []domain.Permission{n.sight.Read, n.sight.Within.sight.Read}
}

// Load is the query for a decision on things, deleted or not.
func (n *Noun[T]) Load(into *[]Row[T], by Actor, ids ...uuid.UUID) pg.Statement {
	scopes, query := n.sight.scopes(by), n.load
	if seesAll(scopes) {
		query = n.loadAll
	}
	return pg.Collect(into, scanRow[T], query, append(scopes, ids)...) //sqlcheck:allow made once, of constants
}

func scanRow[T any](found pgx.CollectableRow) (row Row[T], err error) {
	state := reflect.ValueOf(&row.State).Elem()
	var into []any
	for i := range state.NumField() {
		into = append(into, state.Field(i).Addr().Interface())
	}
	err = found.Scan(append(into, &row.Visible, &row.Reach.Own, &row.Reach.InProject, &row.Gone, &row.At,
		&row.WithinID, &row.WithinVersion, &row.ProjectID, &row.ProjectVersion)...)
	return row, err
}

// Name is the name of the noun and of its table.
func (n *Noun[T]) Name() string { return n.name }

// Stream names the stream of a thing.
func (n *Noun[T]) Stream(id uuid.UUID) string { return n.stream(id) }

// Called makes a state with only an id.
func (n *Noun[T]) Called(id uuid.UUID) (state T) {
	reflect.ValueOf(&state).Elem().Field(field[T]("id")).Set(reflect.ValueOf(id))
	return state
}

// Version gives the version of a state.
func Version[T any](state T) int { return int(reflect.ValueOf(state).Field(field[T]("version")).Int()) }

func field[T any](name string) int { return slices.Index(jsonNames[T](), name) }

// inStream makes the stream function and the rowOf of a read model whose things share one stream. of finds the thing that an event is about.
func inStream(stream string, of func(domain.Record) (uuid.UUID, bool)) (func(uuid.UUID) string, func(domain.Record) (uuid.UUID, bool)) {
	return func(uuid.UUID) string { return stream }, func(r domain.Record) (uuid.UUID, bool) {
		if r.Stream != stream {
			return uuid.Nil, false
		}
		return of(r)
	}
}
