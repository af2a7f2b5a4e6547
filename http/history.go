package http

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	historyLine struct {
		At        time.Time       `json:"at" doc:"When it changed."`
		Actor     *uuid.UUID      `json:"actor" doc:"The member who did it; null for Kluis itself."`
		ActorName *string         `json:"actor_name" example:"Ann Peeters" doc:"The name of that member, who may have left since; in words, in the language of Content-Language, for a person who was erased; null for Kluis itself, and for a member whom the caller may not see."`
		Noun      string          `json:"noun" example:"task" doc:"What changed: the thing itself, or something that belongs to it, such as a comment of a task."`
		ID        uuid.UUID       `json:"id" doc:"The id of what changed."`
		Version   int             `json:"version" doc:"The version that it has since."`
		Type      string          `json:"type" example:"task.updated" doc:"The type of the event. log.pruned stands before everything else: earlier lines were pruned as the plan of the workspace says, and the next ones go on from what they had made."`
		Field     *string         `json:"field" example:"title" doc:"The field that changed; null when the event changed none."`
		Old       json.RawMessage `json:"old" example:"\"Paint the door\"" doc:"What it was, with names instead of ids where there are names, and words for people who were erased; null for a field of a new thing."`
		New       json.RawMessage `json:"new" example:"\"Paint the front door\"" doc:"What it is since."`

		place projections.Place
	}
	historyAsked struct {
		ByID
		Listing[projections.Place]
		Told
	}
	historyShown struct {
		Shown
		Language string `header:"Content-Language" doc:"The language of what is in words."`
		Vary     string `header:"Vary" doc:"Accept-Language: another one gets another answer."`
		Body     page[historyLine]
	}
)

// history answers with the story of a thing, the oldest line first.
func history[T any](a *api, noun *projections.Noun[T]) func(context.Context, projections.Actor, *historyAsked) (*historyShown, error) {
	return func(ctx context.Context, by projections.Actor, in *historyAsked) (*historyShown, error) {
		lines, mark, err := noun.History(ctx, a.Projections, by, in.ID, in.Cursor.After, in.Limit)
		if err != nil {
			return nil, err
		}
		var ids []uuid.UUID
		for _, line := range lines {
			ids = append(append(ids, line.Actor), line.Change.IDs...)
		}
		language, told := wordsFor(in.AcceptLanguage)
		names, erased, err := a.names(ctx, by, ids)
		for _, id := range erased {
			names[id] = told.Erased
		}
		shown := make([]historyLine, len(lines))
		for i, line := range lines {
			shown[i] = showLine(line, names)
		}
		return &historyShown{queryHeaders(mark, 0), language, "Accept-Language", paged(shown, in.Listing, func(l historyLine) projections.Place { return l.place })}, err
	}
}

func showLine(line projections.Line, names map[uuid.UUID]string) historyLine {
	shown := historyLine{At: line.At, Actor: idOrNil(line.Actor), Noun: line.Noun, ID: line.ID, Version: line.Version, Type: line.Type,
		Old: json.RawMessage("null"), New: json.RawMessage("null"), place: line.Place}
	if name, known := names[line.Actor]; known {
		shown.ActorName = &name
	}
	c := line.Change
	if c.Field == "relations" {
		c = seenRelations(c, names)
	}
	if c.Field != "" {
		shown.Field, shown.Old, shown.New = &c.Field, withNames(c.Old, c.IDs, names), withNames(c.New, c.IDs, names)
	}
	return shown
}

// seenRelations is a change without the relations to tasks that the caller may not see: those have no name. A task shows its relations so,
// too. It is no change of a field when nothing else is left of it.
func seenRelations(c projections.FieldChange, names map[uuid.UUID]string) projections.FieldChange {
	for _, value := range []*json.RawMessage{&c.Old, &c.New} {
		var relations []domain.TaskRelation
		if json.Unmarshal(*value, &relations) != nil {
			continue // it is what we wrote
		}
		relations = slices.DeleteFunc(relations, func(r domain.TaskRelation) bool { return names[r.TaskID] == "" })
		*value, _ = json.Marshal(relations) // a relation cannot fail
	}
	if bytes.Equal(c.Old, c.New) {
		return projections.FieldChange{}
	}
	return c
}

// withNames writes names in a JSON value where it has ids.
func withNames(value json.RawMessage, ids []uuid.UUID, names map[uuid.UUID]string) json.RawMessage {
	for _, id := range ids {
		if name, known := names[id]; known {
			quoted, _ := json.Marshal(name) // a string cannot fail
			value = bytes.ReplaceAll(value, []byte(`"`+id.String()+`"`), quoted)
		}
	}
	return value
}

// names is what people call those of ids that have a name which the caller may see: members, those who left among them, and tasks,
// projects and tags, those that are deleted among them. Those who were erased have none.
func (a *api) names(ctx context.Context, by projections.Actor, ids []uuid.UUID) (names map[uuid.UUID]string, erased []uuid.UUID, err error) {
	named, members, err := a.Projections.Names(ctx, by, ids)
	if err != nil {
		return nil, nil, err
	}
	people, err := a.Commands.OpenMembers(ctx, by.Workspace, members)
	names = make(map[uuid.UUID]string, len(named)+len(people))
	for _, thing := range named {
		names[thing.ID] = thing.Name
	}
	for _, m := range members {
		if person, known := people[m.ID]; known {
			names[m.ID] = person.FullName
		} else if m.ErasedAt != nil {
			erased = append(erased, m.ID)
		}
	}
	return names, erased, err
}
