package domain

import "github.com/google/uuid"

// Limits of an external source and an external id, in code points.
const (
	MaxExternalSource = 100
	MaxExternalID     = 200
)

// External is the name of a task in another system: a source, such as "github.com/acme/web", and an id in that source. At most one task has
// the pair.
type External struct{ Source, ID string }

// ExternalOf gives the pair; nil when the task has none.
func ExternalOf(source, id *string) *External {
	if source == nil || id == nil {
		return nil
	}
	return &External{*source, *id}
}

// Key is the id of the pair.
func (e External) Key() uuid.UUID {
	return uuid.NewSHA1(uuid.Nil, []byte("external "+e.Source+"\x00"+e.ID))
}

// ExternalStream names the stream of a pair. Of several tasks that take the pair at once, one succeeds.
func ExternalStream(key uuid.UUID) string { return "external-" + key.String() }

// TaskExternal says which task has a pair at present.
type TaskExternal struct {
	ID       uuid.UUID  `json:"id"` // derived from the pair
	TaskID   *uuid.UUID `json:"task_id"`
	Version  int        `json:"version"`
	Position int64      `json:"position"`
}

// The events of a pair. The pair itself is in the event of the task that is appended together with them.
type (
	TaskExternalTaken struct {
		TaskID uuid.UUID `json:"task_id"`
	}
	TaskExternalFreed struct {
		TaskID uuid.UUID `json:"task_id"`
	}
)

func init() {
	register[TaskExternalTaken]("task.external_taken")
	register[TaskExternalFreed]("task.external_freed")
}

// Apply folds one event of the pair's stream into its state.
func (x *TaskExternal) Apply(r Record) {
	id, _ := StreamID("external", r.Stream)
	*x = TaskExternal{ID: id, Version: r.Version, Position: r.Position}
	if e, taken := r.Event.(TaskExternalTaken); taken {
		x.TaskID = &e.TaskID
	}
}

// Take gives the pair to a task. A deleted task keeps its pair, because it can be restored.
func (x TaskExternal) Take(task uuid.UUID) ([]Event, error) {
	if x.TaskID != nil && *x.TaskID != task {
		return nil, Refuse(Conflict, "external_id_taken", "another task has this external_source and external_id: look for it in the trash as well")
	}
	return []Event{TaskExternalTaken{TaskID: task}}, nil
}

// FreeExternal takes a pair off a task.
func FreeExternal(task uuid.UUID) []Event { return []Event{TaskExternalFreed{TaskID: task}} }

func checkExternal(source, id *string) error {
	switch {
	case source == nil && id == nil:
		return nil
	case source == nil:
		return InvalidField("/external_source", "must be given with external_id")
	case id == nil:
		return InvalidField("/external_id", "must be given with external_source")
	}
	return firstError(
		checkText("/external_source", *source, 1, MaxExternalSource),
		checkText("/external_id", *id, 1, MaxExternalID),
	)
}
