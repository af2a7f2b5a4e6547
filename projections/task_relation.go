package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// shownWithRelations shows only the relations of a task to tasks that exist at the moment {at} and that the caller may see. Inside the condition,
// task is the other task. The condition is a scalar subquery, because Postgres may turn an exists into a join with all tasks.
func shownWithRelations(s Sight) Sight {
	s.As["relations"] = `case when task.relations = '[]' then '[]' else coalesce((select jsonb_agg(related.entry order by related.nth) from jsonb_array_elements(task.relations) with ordinality as related (entry, nth)
		where (select true from task where task.id = (related.entry->>'task_id')::uuid and (task.deleted_at is null or task.deleted_at > {at}) and ` + s.visible("$1") + `)), '[]') end`
	return s
}

// Reached is a task to which relations lead from another one.
type Reached struct {
	ID      uuid.UUID
	Version int
}

// MaxReached is how many tasks are searched for a circle.
const MaxReached = 1000

// Reachable is the query for all tasks to which relations of a kind lead from a task, the task itself and deleted ones included. It gives one more
// than MaxReached when there are too many.
func Reachable(into *[]Reached, kind string, task uuid.UUID) pg.Statement {
	return pg.Rows(into, `with recursive ahead as (
			select $2::uuid as id
			union select (related->>'task_id')::uuid from ahead join task on task.id = ahead.id, jsonb_array_elements(task.relations) as related where related->>'kind' = $1)
		select task.id, task.version from task where task.id = any(array(select id from ahead limit $3))`, kind, task, MaxReached+1)
}
