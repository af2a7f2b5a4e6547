package projections

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Line is one line of a history: the change of one field of a thing, with its author and time.
type Line struct {
	Place   Place
	At      time.Time
	Actor   uuid.UUID
	Noun    string
	ID      uuid.UUID // the thing that changed: the thing of the history, or a thing that belongs to it
	Version int
	Type    string
	Change  FieldChange // without a field when the event changed none
}

// Place is a place in a history: the position of an event, and the number of a line among those of the event, from 1. The lines at position 0
// give the state at the horizon.
type Place struct {
	Position int64 `json:"p"`
	Line     int   `json:"n"`
}

func (p Place) compare(other Place) int {
	return cmp.Or(cmp.Compare(p.Position, other.Position), cmp.Compare(p.Line, other.Line))
}

// historyRange is the requested part of a history: a number of lines behind a place, up to a position.
type historyRange struct {
	after Place
	lines int
	upTo  int64
}

// FieldChange is a field before and after, in JSON.
type FieldChange struct {
	Field    string
	Old, New json.RawMessage
	IDs      []uuid.UUID // the ids in Old and New

	sealed bool // personal data: a history has none
}

// bookkeeping are the fields that every event changes, which make no lines.
var bookkeeping = map[string]bool{"id": true, "version": true, "position": true, "updated_at": true, "created_at": true, "created_by": true,
	"name_key": true}

// part is a noun whose things are part of the history of another noun's things.
type part interface {
	told(ctx context.Context, p *Projections, by Actor, of uuid.UUID, asked historyRange) ([]Line, error)
}

// History answers with the history of a thing that the actor sees or saw, the oldest line first: limit lines behind a place, and one more when
// there is one. It includes the things that belong to the thing, deleted ones too, as far as the actor may see them.
func (n *Noun[T]) History(ctx context.Context, p *Projections, by Actor, id uuid.UUID, after Place, limit int) ([]Line, Mark, error) {
	_, mark, err := n.GetGone(ctx, p, by, id)
	if err != nil {
		return nil, mark, err
	}
	// The lines end at the position at which the access of the caller was checked. Each noun gives as many lines as the page can hold.
	asked := historyRange{after, after.Line + limit + 1, mark.Position}
	lines, err := n.linesOf(ctx, p, by, []uuid.UUID{id}, asked)
	for _, part := range n.parts {
		var more []Line
		if err == nil {
			more, err = part.told(ctx, p, by, id, asked)
			lines = append(lines, more...)
		}
	}
	return pageAfter(lines, after, limit), mark, err
}

// pageAfter gives the first lines behind a place, in their order.
func pageAfter(lines []Line, after Place, limit int) []Line {
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Place.Position, b.Place.Position) })
	for i := range lines {
		lines[i].Place.Line = 1
		if i > 0 && lines[i-1].Place.Position == lines[i].Place.Position {
			lines[i].Place.Line = lines[i-1].Place.Line + 1
		}
	}
	from, there := slices.BinarySearchFunc(lines, after, func(l Line, place Place) int { return l.Place.compare(place) })
	if there {
		from++
	}
	return lines[from:min(len(lines), from+limit+1)]
}

// told gives the lines of the things that belong to another one.
func (n *Noun[T]) told(ctx context.Context, p *Projections, by Actor, of uuid.UUID, asked historyRange) ([]Line, error) {
	var ids []uuid.UUID
	//sqlcheck:allow made once, of constants
	if err := p.db.Read(ctx, by.Workspace, pg.Column(&ids, n.partOf, append(n.sight.scopes(by), of)...)); err != nil || len(ids) == 0 {
		return nil, err
	}
	return n.linesOf(ctx, p, by, ids, asked)
}

// linesOf gives at least the first lines of a range, up to its number of lines.
func (n *Noun[T]) linesOf(ctx context.Context, p *Projections, by Actor, ids []uuid.UUID, asked historyRange) (lines []Line, err error) {
	ids, upTo, err := n.read(ctx, p, by.Workspace, ids, asked)
	if err != nil {
		return nil, err
	}
	stories, head, err := n.stories(ctx, p, by.Workspace, ids, upTo, nil)
	for _, id := range ids {
		if story := stories[id]; err == nil && Version(story.base) > 0 && head.PrunedAt != nil { // the events before the horizon were pruned
			lines = append(lines, Line{At: *head.PrunedAt, Noun: n.name, ID: id, Version: Version(story.base), Type: domain.TypeOf(domain.LogPruned{})})
		}
		lines = append(lines, n.lines(id, stories[id])...)
	}
	return slices.DeleteFunc(lines, func(l Line) bool { return l.Place.Position < asked.after.Position }), err
}

// read finds the things of a range and the position up to which their events are read. Each event of a thing's own stream makes at least one
// line, so the number of lines bounds the number of events. The fold of a thing begins at its first event.
func (m *Model[T]) read(ctx context.Context, p *Projections, w pg.Workspace, ids []uuid.UUID, asked historyRange) ([]uuid.UUID, int64, error) {
	if m.shared {
		return ids, asked.upTo, nil
	}
	streams := make([]string, len(ids))
	for i, id := range ids {
		streams[i] = m.stream(id)
	}
	var places []eventstore.Place
	if err := p.db.Read(ctx, w, eventstore.Places(&places, streams, asked.after.Position, asked.upTo, asked.lines)); err != nil {
		return nil, 0, err
	}
	if m.elsewhere == "" && asked.after.Position > 0 {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool {
			return !slices.ContainsFunc(places, func(at eventstore.Place) bool { return at.Stream == m.stream(id) })
		})
	}
	if len(places) == asked.lines {
		return ids, places[len(places)-1].Position, nil
	}
	return ids, asked.upTo, nil
}

// lines gives the changes of fields by each record of a thing.
func (m *Model[T]) lines(id uuid.UUID, s story[T]) (lines []Line) {
	state := s.base
	before := fields(state)
	for _, r := range s.records {
		begins := Version(state) == 0
		m.apply(&state, r)
		line := Line{At: r.When(), Actor: r.Who(), Noun: m.name, ID: id, Version: Version(state), Type: domain.TypeOf(r.Event), Place: Place{Position: r.Position}}
		changed := false
		for i, f := range fields(state) {
			was := before[i]
			before[i] = f
			if bookkeeping[f.Field] || f.sealed || bytes.Equal(was.New, f.New) || begins && isEmptyField(f) {
				continue
			}
			if begins { // there was nothing
				was = FieldChange{New: json.RawMessage("null")}
			}
			line.Change = FieldChange{Field: f.Field, Old: was.New, New: f.New, IDs: append(was.IDs, f.IDs...)}
			lines, changed = append(lines, line), true
		}
		if line.Change = (FieldChange{}); !changed {
			lines = append(lines, line)
		}
	}
	return lines
}

// isEmptyField tells whether a field of a new thing is left out of its history: an empty field, or the first rank of a task.
func isEmptyField(f FieldChange) bool {
	return f.Field == "rank" || slices.Contains([]string{"null", `""`, "[]", "false", "{}"}, string(f.New))
}

// fields gives the fields of a state by their JSON names, in their order; New is the value.
func fields(state any) []FieldChange {
	v := reflect.ValueOf(state)
	all := make([]FieldChange, v.NumField())
	for i := range all {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value, _ := json.Marshal(v.Field(i).Interface()) // the fields of states can always be marshalled
		all[i] = FieldChange{Field: name, New: value, IDs: referencedIDs(name, v.Field(i).Interface()), sealed: v.Type().Field(i).Type == reflect.TypeFor[domain.Personal]()}
	}
	return all
}

// referencedIDs gives the ids in a field. A role is a text: the name of a built-in role, or the id of an own role.
func referencedIDs(field string, value any) (ids []uuid.UUID) {
	switch v := value.(type) {
	case string:
		if own, err := uuid.Parse(v); err == nil && Refers(field) != "" {
			ids = append(ids, own)
		}
	case uuid.UUID:
		ids = append(ids, v)
	case *uuid.UUID:
		if v != nil {
			ids = append(ids, *v)
		}
	case []uuid.UUID:
		ids = append(ids, v...)
	case []domain.TaskRelation:
		for _, r := range v {
			ids = append(ids, r.TaskID)
		}
	}
	return ids
}

// Named is a thing with its name.
type Named struct {
	ID   uuid.UUID
	Name string
}

// names is the query for the names of tasks, projects, tags, roles and tokens, and for the first words of comments.
var names = `select task.id, coalesce(task.key, task.title) as name from task where task.id = any($4) and ` + taskSight.visible("$3") + `
	union all select comment.id, left(comment.body, 100) from comment join task on task.id = comment.task_id where comment.id = any($4) and ` + Comments.sight.showed("$1") + `
	union all select project.id, project.name from project where project.id = any($4) and ` + Projects.sight.visible("$5") + `
	union all select tag.id, tag.name from tag where tag.id = any($4) and ` + Tags.sight.visible("$6") + `
	union all select role.id, role.name from role where role.id = any($4) and ` + Roles.sight.visible("$7") + `
	union all select token.id, token.name from token where token.id = any($4) and token.member_id = $2`

// Names answers with the names of the tasks, projects, tags, roles and tokens among ids that the actor may see, deleted ones too, with the first
// words of such comments, and with the members among ids whom the actor may see, former ones too, whose names are sealed.
func (p *Projections) Names(ctx context.Context, by Actor, ids []uuid.UUID) (named []Named, members []domain.Member, err error) {
	err = p.db.Read(ctx, by.Workspace,
		//sqlcheck:allow made once, of constants
		pg.Rows(&named, names, by.Scope(domain.ReadComment), by.Member, by.Scope(domain.ReadTask), ids, by.Scope(domain.ReadProject), by.Scope(domain.ReadTag),
			by.Scope(domain.ReadRole)),
		pg.Rows(&members, `select `+memberColumns+` from member where id = any($3) and `+nameable, by.Scope(domain.ReadMember), by.Member, ids)) //sqlcheck:allow made of constants
	return named, members, err
}
