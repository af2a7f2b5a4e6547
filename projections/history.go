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
	"github.com/kluis-eu/kluis/internal/pg"
)

// Line is one line of a story: who changed which field of what, when.
type Line struct {
	At      time.Time
	Actor   uuid.UUID
	Noun    string
	ID      uuid.UUID // of the thing that changed: the one that the story is of, or one that belongs to it
	Version int
	Type    string
	Change  FieldChange // no field when the event changed none

	position int64
}

// FieldChange is a field before and after, in JSON.
type FieldChange struct {
	Field    string
	Old, New json.RawMessage
	IDs      []uuid.UUID // that are in Old and New

	sealed bool // personal data: a history has none
}

// bookkeeping is what every event changes.
var bookkeeping = map[string]bool{"id": true, "version": true, "position": true, "updated_at": true, "created_at": true, "created_by": true,
	"name_key": true}

// part is a noun whose things are told of in the story of another one.
type part interface {
	told(ctx context.Context, p *Projections, by Actor, of uuid.UUID, upTo int64) ([]Line, error)
}

// History answers with the story of a thing that the actor may see, or saw, the oldest first. Things that belong to it are in its story,
// deleted ones too, as far as the actor may see them.
func (n *Noun[T]) History(ctx context.Context, p *Projections, by Actor, id uuid.UUID) ([]Line, Mark, error) {
	_, mark, err := n.GetGone(ctx, p, by, id)
	if err != nil {
		return nil, mark, err
	}
	lines, err := n.tell(ctx, p, by, []uuid.UUID{id}, mark.Position) // no further than what the caller may see was decided on
	for _, part := range n.parts {
		var more []Line
		if err == nil {
			more, err = part.told(ctx, p, by, id, mark.Position)
			lines = append(lines, more...)
		}
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.position, b.position) })
	return lines, mark, err
}

// told are the lines of the things that belong to another one.
func (n *Noun[T]) told(ctx context.Context, p *Projections, by Actor, of uuid.UUID, upTo int64) ([]Line, error) {
	var ids []uuid.UUID
	//sqlcheck:allow made once, of constants
	if err := p.db.Read(ctx, by.Workspace, pg.Column(&ids, n.partOf, append(n.sight.scopes(by), of)...)); err != nil || len(ids) == 0 {
		return nil, err
	}
	return n.tell(ctx, p, by, ids, upTo)
}

func (n *Noun[T]) tell(ctx context.Context, p *Projections, by Actor, ids []uuid.UUID, upTo int64) (lines []Line, err error) {
	stories, head, err := n.stories(ctx, p, by.Workspace, ids, upTo, nil)
	for _, id := range ids {
		if story := stories[id]; err == nil && Version(story.base) > 0 && head.PrunedAt != nil { // what was before is gone
			lines = append(lines, Line{At: *head.PrunedAt, Noun: n.name, ID: id, Version: Version(story.base), Type: domain.TypeOf(domain.LogPruned{})})
		}
		lines = append(lines, n.lines(id, stories[id])...)
	}
	return lines, err
}

// lines are what each record of a story changed.
func (m *Model[T]) lines(id uuid.UUID, s story[T]) (lines []Line) {
	state := s.base
	before := fields(state)
	for _, r := range s.records {
		begins := Version(state) == 0
		m.apply(&state, r)
		line := Line{At: r.When(), Actor: r.Who(), Noun: m.name, ID: id, Version: Version(state), Type: domain.TypeOf(r.Event), position: r.Position}
		changed := false
		for i, f := range fields(state) {
			was := before[i]
			before[i] = f
			if bookkeeping[f.Field] || f.sealed || bytes.Equal(was.New, f.New) || begins && idle(f) {
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

// idle tells whether a field of a new thing says nothing: it is empty, or a place that nobody chose.
func idle(f FieldChange) bool {
	return f.Field == "rank" || slices.Contains([]string{"null", `""`, "[]", "false", "{}"}, string(f.New))
}

// fields gives the fields of a state by their JSON names, in their order; New is the value.
func fields(state any) []FieldChange {
	v := reflect.ValueOf(state)
	all := make([]FieldChange, v.NumField())
	for i := range all {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value, _ := json.Marshal(v.Field(i).Interface()) // states are made of what JSON can say
		all[i] = FieldChange{Field: name, New: value, IDs: held(v.Field(i).Interface()), sealed: v.Type().Field(i).Type == reflect.TypeFor[domain.Personal]()}
	}
	return all
}

// held are the ids that a field holds.
func held(value any) (ids []uuid.UUID) {
	switch v := value.(type) {
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

// Named is what people call a thing.
type Named struct {
	ID   uuid.UUID
	Name string
}

var names = `select task.id, coalesce(task.key, task.title) as name from task where task.id = any($3) and ` + taskSight.visible("$1") + `
	union all select project.id, project.name from project where project.id = any($3) and ` + Projects.sight.visible("$4") + `
	union all select tag.id, tag.name from tag where tag.id = any($3) and ` + Tags.sight.visible("$5")

// Names answers with what people call those of ids that are tasks, projects or tags which the actor may see, deleted ones too; and with
// those that are, or were, members, whose names are sealed.
func (p *Projections) Names(ctx context.Context, by Actor, ids []uuid.UUID) (named []Named, members []domain.Member, err error) {
	err = p.db.Read(ctx, by.Workspace,
		//sqlcheck:allow made once, of constants
		pg.Rows(&named, names, by.Scope(domain.ReadTask), by.Member, ids, by.Scope(domain.ReadProject), by.Scope(domain.ReadTag)),
		pg.Rows(&members, `select `+memberColumns+` from member where id = any($1)`, ids))
	return named, members, err
}
