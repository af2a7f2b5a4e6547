package domain

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// TaskKey is one of the keys that a task answers to, such as WEB-12. A task has a key in each project that it is, or was, in.
type TaskKey struct {
	ID         uuid.UUID `json:"id"` // made of the key
	ProjectKey string    `json:"project_key"`
	Number     int       `json:"number"`
	TaskID     uuid.UUID `json:"task_id"`
	Version    int       `json:"version"`
	Position   int64     `json:"position"`
}

// TaskNumbered gives a task the next number of a project, in the stream of the project's key. The number is in no event: it is the
// event's place in that stream, so numbers have no gaps, are in the order of the log, and no two creators wait for each other.
type TaskNumbered struct {
	TaskID uuid.UUID `json:"task_id"`
}

func init() { register[TaskNumbered]("task.numbered") }

// NumberTask is what gives a task its key in a project.
func NumberTask(task uuid.UUID) []Event { return []Event{TaskNumbered{TaskID: task}} }

// KeyOf gives the key that a record has given to a task.
func KeyOf(r Record) (key string, given bool) {
	project, number, given := numbered(r)
	return project + "-" + strconv.Itoa(number), given
}

// TaskKeyID is the id of a key.
func TaskKeyID(key string) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte("task key "+key)) }

// numbered takes apart what TaskNumbered says: the first event of the stream took the key, so the second is number 1.
func numbered(r Record) (project string, number int, given bool) {
	_, given = r.Event.(TaskNumbered)
	return strings.TrimPrefix(r.Stream, KeyStream("")), r.Version - 1, given
}

// Apply folds the one event of a key into its state.
func (k *TaskKey) Apply(r Record) {
	key, _ := KeyOf(r)
	project, number, _ := numbered(r)
	e, _ := r.Event.(TaskNumbered)
	*k = TaskKey{ID: TaskKeyID(key), ProjectKey: project, Number: number, TaskID: e.TaskID, Version: r.Version, Position: r.Position}
}

// TaskOf tells which task a record changes: one of its own stream, and one that gave it a key.
func TaskOf(r Record) (uuid.UUID, bool) {
	if e, ok := r.Event.(TaskNumbered); ok {
		return e.TaskID, true
	}
	return StreamID("task", r.Stream)
}
