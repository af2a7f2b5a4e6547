package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/words"
)

// Lists says how the lists of a noun are filtered and sorted. The SQL of all lists is made of these constants.
type Lists struct {
	Filter any       // a struct as filter.go reads it; nil for none
	Sorts  []Sorting // the fields to sort by, besides the newest first
	Search string    // the condition that a thing has words: {words} is a tsquery, {keyed} stands for Keyed, {scope} is the scope of Beside; empty when there is no search
	Keyed  string    // what the search also chooses when the text is a key of a task: %d is the parameter with the id of the key
	Beside domain.Permission
}

// Sorting is a field by which a list can be sorted.
type Sorting struct {
	Field  string   // the JSON name of a field of the state
	By     string   // the SQL expression to compare, never null, with @ for the field; empty for the field itself
	Values []string // the values of the field in their order, when that order is compared
}

// Rows without a value come behind all rows with one. In the other direction they come first.
const (
	noDay  = `coalesce(@, 'infinity'::date)`
	asText = `@ collate "C"`
	byName = `lower(@) collate "C"`
)

// MaxSorts is the largest number of fields to sort a list by.
const MaxSorts = 2

// Page is the requested part of a list: Limit things behind After. The answer has one thing beyond Limit when there is one.
type Page struct {
	Limit    int
	Sort     []string // fields of Lists.Sorts, with - before one from the highest to the lowest; none: the newest first
	After    *After   // nil for the first page
	Text     string   // the words to search for; empty for no search
	Deleted  bool     // only deleted things
	Total    *int     // receives the number of things in the whole list; nil for no count
	Eventual bool     // the caller accepts read models that are behind

	projects []uuid.UUID // see withProjects
	of       []byte      // see ListOf
}

// After is a place in a list: behind the thing with these values and this id. The thing may be deleted meanwhile.
type After struct {
	Values []json.RawMessage `json:"v,omitempty"` // of the fields that the list is sorted by
	ID     uuid.UUID         `json:"id"`
}

// id gives the id behind which a list in the order of ids goes on.
func (p Page) id() *uuid.UUID {
	if p.After == nil {
		return nil
	}
	return &p.After.ID
}

// InvalidCursor refuses a cursor that does not fit the list.
func InvalidCursor() error {
	r := domain.Refuse(domain.Invalid, "invalid_cursor", "a cursor fits only the list, the filters and the order that it was given for: begin without one")
	r.Fields = []domain.Field{{Pointer: "/cursor", Detail: "expected a next_cursor of this list"}}
	return r
}

// List answers with the things that the actor may see and that the filter chooses. The filter has the type of Lists.Filter; nil chooses all.
func (n *Noun[T]) List(ctx context.Context, p *Projections, by Actor, page Page, filter any) ([]T, Mark, error) {
	return listOf[T](ctx, n, p, by, page, filter, func(list, _ string, _ int) string { return list })
}

// ListOf is List over given things instead of the stored ones: past states, or things that are in no table.
func (n *Noun[T]) ListOf(ctx context.Context, p *Projections, by Actor, page Page, filter any, things []T) (rows []T, err error) {
	if page.of, err = json.Marshal(append([]T{}, things...)); err != nil {
		return nil, fmt.Errorf("encode rows of %s: %w", n.name, err)
	}
	rows, _, err = n.List(ctx, p, by, page, filter)
	return rows, err
}

// Shown is a state as stored JSON, which is passed on without decoding.
type Shown = pg.JSON

// ListShown is List for callers that pass the states on without decoding.
func (n *Noun[T]) ListShown(ctx context.Context, p *Projections, by Actor, page Page, filter any) ([]Shown, Mark, error) {
	return listOf[Shown](ctx, n, p, by, page, filter, func(list, _ string, _ int) string { return list })
}

// listOf is List for rows with more columns than the states. around makes such a query from the list's query, its order, and the number of the
// next parameter. more are the values of the parameters from that number on.
func listOf[R, T any](ctx context.Context, n *Noun[T], p *Projections, by Actor, page Page, filter any, around func(list, order string, next int) string, more ...any) (rows []R, mark Mark, err error) {
	if page, err = n.withProjects(ctx, p, by, page); err != nil {
		return nil, mark, err
	}
	q, err := n.query(by, page, filter)
	if err != nil {
		return nil, mark, err
	}
	var read []pg.Statement
	if !q.once {
		read = append(read, pg.PlanEach())
	}
	if page.Total != nil {
		chosen, args, err := n.matching(by, page, filter)
		if err != nil {
			return nil, mark, err
		}
		read = append(read, pg.Exec("select count(*)"+chosen, args...).Scan(page.Total)) //sqlcheck:allow of constants
	}
	//sqlcheck:allow of constants, and of fields that Lists names
	rowsOf := pg.Rows(&rows, around(q.sql, q.order, len(q.args)+1), append(slices.Clone(q.args), more...)...)
	if q.once {
		rowsOf = rowsOf.Light()
	}
	read = append(read, rowsOf)
	mark, err = p.show(ctx, by, page.Eventual && !isScoped(q.args), read...)
	if err == nil && mark.Behind() > 0 && isScoped(q.args) {
		return nil, mark, catchingUp(mark)
	}
	return rows, mark, err
}

// withProjects reads the actor's projects when the list is limited to things in them, so that Postgres plans for these projects and not for an
// average number of projects. The query of the list still checks access on its own snapshot.
func (n *Noun[T]) withProjects(ctx context.Context, p *Projections, by Actor, page Page) (Page, error) {
	if by.Scope(n.sight.Read) != domain.InProject || n.sight.Project == "" {
		return page, nil
	}
	_, err := p.Fresh(ctx, by.Workspace, pg.Column(&page.projects, `select id from project where member_ids @> array[$1::uuid]`, by.Member))
	page.projects = append([]uuid.UUID{}, page.projects...) // never nil
	return page, err
}

// listing is the query of a page.
type listing struct {
	sql, order string
	args       []any
	once       bool // one plan is right for all parameters
}

func (n *Noun[T]) query(by Actor, page Page, filter any) (listing, error) {
	keys, err := n.keys(page.Sort)
	if err != nil {
		return listing{}, err
	}
	values, err := n.values(keys, page.After)
	if err != nil {
		return listing{}, err
	}
	order := n.order(keys)
	if column, value, is := n.plain(by, page, filter); is {
		args := append(append(n.sight.scopes(by), page.Limit+1), value...)
		chosen := " from " + n.name + " where not " + n.sight.gone() + " and $1::text is not null and $2::uuid is not null and $3::text is not null" + column
		if page.After != nil {
			chosen += " and " + n.after(keys, len(args)+1)
			args = append(append(args, page.After.ID), values...)
		}
		return listing{n.chooseThenShow(chosen, order, "$4"), order, args, true}, nil
	}
	chosen, args, err := n.matching(by, page, filter)
	if err != nil {
		return listing{}, err
	}
	next := len(args) + 1
	chosen += fmt.Sprintf(" and ($%d::uuid is null or %s)", next+1, n.after(keys, next+1))
	args = append(append(args, page.Limit+1, page.id()), values...)
	return listing{n.chooseThenShow(chosen, order, fmt.Sprintf("$%d", next)), order, args, false}, nil
}

// chooseThenShow gives a query that finds the things of a page first, and then reads the expensive columns of these alone.
func (n *Noun[T]) chooseThenShow(chosen, order, limit string) string {
	return fmt.Sprintf("select %[1]s from (select %[2]s.*%[3]s order by %[4]s limit %[5]s) as %[2]s order by %[4]s", n.shown, n.name, chosen, order, limit)
}

// plain tells whether one plan is right for a list with any place and any values, so that Postgres plans it once. That is so for a caller with
// scope all, for the list of all things, and for the list of the things with one value of a column that is indexed in the order of the list.
// Most requests are of this kind. plain gives the condition on that value, which is the fifth parameter, and the value.
func (n *Noun[T]) plain(by Actor, page Page, filter any) (where string, value []any, is bool) {
	if page.of != nil || n.sight.Within != nil || by.Scope(n.sight.Read) != domain.All || len(page.Sort) > 1 || page.Text != "" || page.Deleted || page.Total != nil {
		return "", nil, false
	}
	return n.filter.single(filter, page.Sort, 5)
}

// matching gives the tables and the condition of a list, and the parameters: those of choose, then the words to search for. Only a list with a
// search has the condition on words, so that Postgres can begin with that condition.
func (n *Noun[T]) matching(by Actor, page Page, filter any) (chosen string, args []any, err error) {
	from, where, args := n.from, n.chosen, n.choose(by, page.Deleted, filter)
	if page.of != nil {
		args = append(args, string(page.of))
		from = fmt.Sprintf(" from json_populate_recordset(null::%[1]s, $%[2]d::text::json) as %[1]s", n.name, len(args))
	}
	if page.projects != nil {
		args = append(args, page.projects)
		where += fmt.Sprintf(" and (%s or %s = any($%d::uuid[]))", n.sight.Own, n.sight.Project, len(args))
	}
	chosen = from + " where " + where
	if page.Text == "" {
		return chosen, args, nil
	}
	query := words.Query(page.Text)
	if query == "" {
		return "", nil, noWords()
	}
	search := strings.ReplaceAll(n.lists.Search, "{words}", fmt.Sprintf("$%d::tsquery", len(args)+1))
	args = append(args, query)
	if key, is := domain.ReadTaskKey(strings.TrimSpace(page.Text)); is && n.lists.Keyed != "" {
		search = strings.ReplaceAll(search, "{keyed}", fmt.Sprintf(" "+n.lists.Keyed, len(args)+1))
		args = append(args, domain.TaskKeyID(key))
	} else {
		search = strings.ReplaceAll(search, "{keyed}", "")
	}
	if strings.Contains(search, "{scope}") {
		search = strings.ReplaceAll(search, "{scope}", fmt.Sprintf("$%d::text", len(args)+1))
		args = append(args, by.Scope(n.lists.Beside))
	}
	return chosen + " and " + search, args, nil
}

// show is Fresh. When the caller accepts read models that are behind, and no events of the roster are missing, show is Read.
func (p *Projections) show(ctx context.Context, by Actor, eventual bool, read ...pg.Statement) (Mark, error) {
	if eventual {
		if mark, err := p.Read(ctx, by.Workspace, read...); err != nil || mark.Roster == mark.RosterHead {
			return mark, err
		}
	}
	return p.Fresh(ctx, by.Workspace, read...)
}

// aggregate makes a query over all things of a list, from the columns and from the text behind the condition, such as a group by. The
// parameters are those of choose; the next one has the number n.next.
func (n *Noun[T]) aggregate(columns, rest string) string {
	return "select " + columns + n.from + " where " + n.chosen + " " + rest
}

// choose gives the parameters of n.chosen.
func (n *Noun[T]) choose(by Actor, deleted bool, filter any) []any {
	return append(append(n.sight.scopes(by), deleted), n.filter.values(filter)...)
}

// key is a field that a list is sorted by.
type key struct {
	Sorting
	from string // the field, in SQL
	kind reflect.Type
	down bool
}

// keys gives the fields that the caller sorts the list by.
func (n *Noun[T]) keys(sort []string) (keys []key, err error) {
	if len(sort) > MaxSorts {
		return nil, domain.InvalidField("/sort", "must have at most %d fields", MaxSorts)
	}
	for _, s := range sort {
		name, down := strings.CutPrefix(s, "-")
		i := slices.IndexFunc(n.lists.Sorts, func(s Sorting) bool { return s.Field == name })
		if i < 0 || slices.ContainsFunc(keys, func(k key) bool { return k.Field == name }) {
			return nil, domain.InvalidField("/sort", "must be different fields of %s", strings.Join(n.SortedBy(), ", "))
		}
		keys = append(keys, key{Sorting: n.lists.Sorts[i], from: n.name + "." + name, down: down, kind: reflect.TypeFor[T]().Field(field[T](name)).Type})
	}
	return keys, nil
}

// SortedBy gives the fields that lists of the noun can be sorted by.
func (n *Noun[T]) SortedBy() (names []string) {
	for _, s := range n.lists.Sorts {
		names = append(names, s.Field)
	}
	return names
}

// of gives the SQL expression to compare, for a field or a parameter.
func (s Sorting) of(value string) string {
	switch {
	case s.Values != nil:
		return "array_position('{" + strings.Join(s.Values, ",") + "}'::text[], " + value + ")"
	case s.By != "":
		return strings.ReplaceAll(s.By, "@", value)
	}
	return value
}

func (k key) parameter(number int) string { return fmt.Sprintf("$%d::%s", number, castOf(k.kind)) }

func compared(down bool) (operator, direction string) {
	if down {
		return "<", "desc"
	}
	return ">", "asc"
}

// idsDescend tells whether ids descend. They have the direction of the last field, so that an index can give the order. Without fields the
// newest things come first.
func idsDescend(keys []key) bool { return len(keys) == 0 || keys[len(keys)-1].down }

// order gives the order of a list: the fields, then the id, so that no two things have the same place.
func (n *Noun[T]) order(keys []key) string {
	var by []string
	for _, k := range keys {
		_, direction := compared(k.down)
		by = append(by, k.of(k.from)+" "+direction)
	}
	_, direction := compared(idsDescend(keys))
	return strings.Join(append(by, n.name+".id "+direction), ", ")
}

// after gives the condition on things behind a place. The parameter with the number id is the id of the place, and its values follow.
func (n *Noun[T]) after(keys []key, id int) string {
	columns, values := []string{}, []string{}
	for i, k := range keys {
		columns, values = append(columns, k.of(k.from)), append(values, k.of(k.parameter(id+1+i)))
	}
	columns, values = append(columns, n.name+".id"), append(values, fmt.Sprintf("$%d", id))
	row := func(from int) string {
		operator, _ := compared(idsDescend(keys))
		return "(" + strings.Join(columns[from:], ", ") + ") " + operator + " (" + strings.Join(values[from:], ", ") + ")"
	}
	if len(keys) < 2 || keys[0].down == keys[1].down {
		return row(0)
	}
	operator, _ := compared(keys[0].down)
	return fmt.Sprintf("%[1]s %[2]s= %[3]s and (%[1]s %[2]s %[3]s or %[4]s)", columns[0], operator, values[0], row(1))
}

// values gives the parameters of a place: nulls for the first page.
func (n *Noun[T]) values(keys []key, after *After) (values []any, err error) {
	if after != nil && len(after.Values) != len(keys) {
		return nil, InvalidCursor()
	}
	for i, k := range keys {
		if after == nil {
			values = append(values, nil)
			continue
		}
		value := reflect.New(k.kind)
		if err := json.Unmarshal(after.Values[i], value.Interface()); err != nil {
			return nil, InvalidCursor()
		}
		if day, is := value.Elem().Interface().(*domain.Date); is {
			if day != nil && !day.Valid() {
				return nil, InvalidCursor()
			}
			value = reflect.ValueOf(&day)
		}
		values = append(values, argument(value.Elem()))
	}
	return values, nil
}

// AfterShown is After for a state as stored JSON.
func AfterShown(shown Shown, sort []string) (after After) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(shown, &fields) != nil || json.Unmarshal(fields["id"], &after.ID) != nil {
		panic("projections: a row of a list is not the JSON of a state") // a mistake of ours
	}
	for _, s := range sort {
		after.Values = append(after.Values, fields[strings.TrimPrefix(s, "-")])
	}
	return after
}

// After gives the place of a thing in a list with this order.
func (n *Noun[T]) After(state T, sort []string) After {
	after := After{ID: n.id(state)}
	for _, s := range sort {
		value, err := json.Marshal(reflect.ValueOf(state).Field(field[T](strings.TrimPrefix(s, "-"))).Interface())
		if err != nil {
			panic(err) // a state that cannot be marshalled is a mistake in the program
		}
		after.Values = append(after.Values, value)
	}
	return after
}
