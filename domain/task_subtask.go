package domain

import "github.com/google/uuid"

// TaskSubtasks counts the subtasks that a task was given. A command that moves a task and its descendants (into another project, into the
// trash) guards this stream of each of them. A subtask that is added at the same instant appends to the stream, so the command decides
// again. Creators of subtasks do not wait for each other.
type TaskSubtasks struct {
	ID       uuid.UUID `json:"id"` // of the parent
	Version  int       `json:"version"`
	Position int64     `json:"position"`
}

// TaskSubtaskAdded says which subtask was added.
type TaskSubtaskAdded struct {
	TaskID uuid.UUID `json:"task_id"`
}

func init() { register[TaskSubtaskAdded]("task.subtask_added") }

// SubtasksStream names the stream of a task's subtasks.
func SubtasksStream(above uuid.UUID) string { return "subtasks-" + above.String() }

// Apply folds one event of the stream into its state.
func (s *TaskSubtasks) Apply(r Record) {
	id, _ := StreamID("subtasks", r.Stream)
	*s = TaskSubtasks{ID: id, Version: r.Version, Position: r.Position}
}
