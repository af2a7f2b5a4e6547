package domain

import (
	"slices"

	"github.com/google/uuid"
)

// TaskRelation is a relation of a task to another one.
type TaskRelation struct {
	Kind   string    `json:"kind" enum:"blocks,blocked_by,duplicates,duplicated_by,relates"`
	TaskID uuid.UUID `json:"task_id" doc:"The other task. Those that are deleted, or that the caller may not see, are left out."`
}

// otherEnd gives each kind of relation as seen from the other task.
var otherEnd = map[string]string{"blocks": "blocked_by", "duplicates": "duplicated_by", "relates": "relates"}

// Directed tells whether a kind of relation has a direction. Directed relations of a kind must not make a circle.
func Directed(kind string) bool { return otherEnd[kind] != kind }

// Relate relates the two tasks. An existing relation gives no event. circle tells whether relations of the kind lead from the other task
// back to this one.
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
		return nil, nil, Refuse(Conflict, "relation_circle", "this relation would make a circle: the other task %s this one already, directly or over other tasks", kind)
	case len(t.Relations) >= MaxRelations || len(other.Relations) >= MaxRelations:
		return nil, nil, Refuse(Conflict, "too_many_relations", "a task has at most %d relations", MaxRelations)
	}
	return []Event{TaskRelated{mine}}, []Event{TaskRelated{theirs}}, nil
}

// Unrelate removes a relation from both tasks. A relation that does not exist gives no event.
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
