package domain

import (
	"slices"

	"github.com/google/uuid"
)

// TaskRelation is what a task has to do with another one.
type TaskRelation struct {
	Kind   string    `json:"kind" enum:"blocks,blocked_by,duplicates,duplicated_by,relates"`
	TaskID uuid.UUID `json:"task_id" doc:"The other task. Those that are deleted, or that the caller may not see, are left out."`
}

// otherEnd is each kind of relation as the other task has it.
var otherEnd = map[string]string{"blocks": "blocked_by", "duplicates": "duplicated_by", "relates": "relates"}

// Directed tells whether a kind of relation has a direction, in which no circle may be made.
func Directed(kind string) bool { return otherEnd[kind] != kind }

// Relate gives the task, and the other one, a relation; one that is there gives no event. circle tells whether the other task leads
// back to this one in the direction of the kind.
func (t Task) Relate(kind string, other Task, circle bool) (own, others []Event, err error) {
	mine, theirs := relation(kind, t, other)
	switch {
	case otherEnd[kind] == "":
		return nil, nil, InvalidField("/kind", "must be one of blocks, duplicates, relates")
	case t.ID == other.ID:
		return nil, nil, InvalidField("/other_id", "must be another task")
	case slices.Contains(t.Relations, mine):
		return nil, nil, nil
	case circle:
		return nil, nil, Refuse(Conflict, "relation_circle", "it would be a circle: the other task already %s this one, or leads to one that does", kind)
	case len(t.Relations) >= MaxRelations || len(other.Relations) >= MaxRelations:
		return nil, nil, Refuse(Conflict, "too_many_relations", "a task has at most %d relations", MaxRelations)
	}
	return []Event{TaskRelated{mine}}, []Event{TaskRelated{theirs}}, nil
}

// Unrelate takes a relation off both tasks; one that is not there gives no event.
func (t Task) Unrelate(kind string, other Task) (own, others []Event) {
	mine, theirs := relation(kind, t, other)
	if !slices.Contains(t.Relations, mine) {
		return nil, nil
	}
	return []Event{TaskUnrelated{mine}}, []Event{TaskUnrelated{theirs}}
}

func relation(kind string, t, other Task) (mine, theirs TaskRelation) {
	return TaskRelation{kind, other.ID}, TaskRelation{otherEnd[kind], t.ID}
}
