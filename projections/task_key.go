package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// TaskKeys is the read model of the keys of tasks: a row for each key that was ever given.
var TaskKeys = newModel("task_key", func(uuid.UUID) string { return "" },
	func(r domain.Record) (uuid.UUID, bool) {
		key, given := domain.KeyOf(r)
		if !given {
			return uuid.Nil, false
		}
		return domain.TaskKeyID(key), true
	},
	(*domain.TaskKey).Apply,
	func(k domain.TaskKey) uuid.UUID { return k.ID })

// keyPositions are the records that gave tasks their keys.
const keyPositions = `select position from task_key where task_id = any($1)`

// TaskOfKey finds the task with a key, without a check of access: the query or command that follows checks it.
func (p *Projections) TaskOfKey(ctx context.Context, by Actor, key string) (uuid.UUID, error) {
	found, _, err := get[struct{ TaskID uuid.UUID }](ctx, p, by.Workspace, "task", `select task_id from task_key where id = $1`, domain.TaskKeyID(key))
	return found.TaskID, err
}
