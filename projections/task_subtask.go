package projections

import (
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TaskSubtasks is the read model of the streams of subtasks.
var TaskSubtasks = newModel("task_subtasks", domain.SubtasksStream, ofKind("subtasks"), (*domain.TaskSubtasks).Apply,
	func(s domain.TaskSubtasks) uuid.UUID { return s.ID })

// below gives the ids of the descendants of the tasks $4, deleted ones too, at most $5 of them.
const below = `any(array(
	with recursive below as (
		select id from task where parent_id = any($4::uuid[])
		union select task.id from below join task on task.parent_id = below.id)
	select id from below limit $5))`

var subtasks = strings.Replace(Tasks.load, "any($4::uuid[])", below, 1)

// Arrivals says how many subtasks a task was given.
type Arrivals struct {
	ID      uuid.UUID
	Version int // of the stream of its subtasks
}

// Subtasks gives the queries for the descendants of some tasks, deleted ones too, at most limit of them, and for the versions of the streams of
// subtasks of all these.
func Subtasks(into *[]Row[domain.Task], arrivals *[]Arrivals, by Actor, of []uuid.UUID, limit int) []pg.Statement {
	args := append(taskSight.scopes(by), of, limit)
	return []pg.Statement{
		pg.Collect(into, scanRow[domain.Task], subtasks, args...), //sqlcheck:allow made once, of constants
		pg.Rows(arrivals, `select task.id, coalesce(come.version, 0) as version from task left join task_subtasks as come on come.id = task.id
			where (task.id = any($4::uuid[]) or task.id = `+below+`) and ($1::text, $2::uuid, $3::text) is not null`, args...),
	}
}
