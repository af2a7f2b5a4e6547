package domain

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// TaskKey is a key by which a task is found, such as WEB-12. A task has one in its project and one in each of its earlier projects.
type TaskKey struct {
	ID         uuid.UUID `json:"id"` // derived from the key
	ProjectKey string    `json:"project_key"`
	Number     int       `json:"number"`
	TaskID     uuid.UUID `json:"task_id"`
	Version    int       `json:"version"`
	Position   int64     `json:"position"`
}

// TaskNumbered gives a task the next number of a project, in the stream of the project's key. The number is not a field: it is the event's
// version in that stream. So the numbers have no gaps, follow the order of the log, and creators do not wait for each other.
type TaskNumbered struct {
	TaskID uuid.UUID `json:"task_id"`
}

func init() { register[TaskNumbered]("task.numbered") }

// NumberTask gives a task its key in a project.
func NumberTask(task uuid.UUID) []Event { return []Event{TaskNumbered{TaskID: task}} }

// KeyOf gives the key that a record gave to a task.
func KeyOf(r Record) (key string, given bool) {
	project, number, given := numbered(r)
	return project + "-" + strconv.Itoa(number), given
}

// TaskKeyForm is the form of a key as people write it, in capitals or not, as a regular expression.
const TaskKeyForm = `[A-Za-z]{2,10}-[1-9][0-9]{0,8}`

var taskKeyForm = regexp.MustCompile(`^` + TaskKeyForm + `$`)

// ReadTaskKey gives the key that a text is, in capitals.
func ReadTaskKey(text string) (key string, is bool) {
	if !taskKeyForm.MatchString(text) {
		return "", false
	}
	return strings.ToUpper(text), true
}

// TaskKeyID is the id of a key.
func TaskKeyID(key string) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte("task key "+key)) }

// numbered gives the project key and the number of a TaskNumbered. The first event of the stream took the key, so the second is number 1.
func numbered(r Record) (project string, number int, given bool) {
	_, given = r.Event.(TaskNumbered)
	return strings.TrimPrefix(r.Stream, KeyStream("")), r.Version - 1, given
}

// Apply folds the TaskNumbered of a key into its state.
func (k *TaskKey) Apply(r Record) {
	key, _ := KeyOf(r)
	project, number, _ := numbered(r)
	e, _ := r.Event.(TaskNumbered)
	*k = TaskKey{ID: TaskKeyID(key), ProjectKey: project, Number: number, TaskID: e.TaskID, Version: r.Version, Position: r.Position}
}

// TaskOf gives the id of the task that a record changes, which is a record of the task's own stream or a TaskNumbered.
func TaskOf(r Record) (uuid.UUID, bool) {
	if e, ok := r.Event.(TaskNumbered); ok {
		return e.TaskID, true
	}
	return StreamID("task", r.Stream)
}
