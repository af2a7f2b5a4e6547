package domain

import "github.com/google/uuid"

// TaskSubtasks counts what has come under a task. A command that takes all tasks below one along (into another project, into the trash) guards the
// stream of each: a subtask that comes at the same instant moves that stream, and makers of subtasks do not wait for each other.
type TaskSubtasks struct {
	ID       uuid.UUID `json:"id"` // of the task above
	Version  int       `json:"version"`
	Position int64     `json:"position"`
}

// TaskSubtaskAdded says in that stream which task has come.
type TaskSubtaskAdded struct {
	TaskID uuid.UUID `json:"task_id"`
}

func init() { register[TaskSubtaskAdded]("task.subtask_added") }

// SubtasksStream names the stream of what comes under a task.
func SubtasksStream(above uuid.UUID) string { return "subtasks-" + above.String() }

// Apply folds one event of the stream into its state.
func (s *TaskSubtasks) Apply(r Record) {
	id, _ := StreamID("subtasks", r.Stream)
	*s = TaskSubtasks{ID: id, Version: r.Version, Position: r.Position}
}
