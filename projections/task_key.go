package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
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

// TasksOfKeys finds the tasks with keys, without a check of access: the query or command that follows checks it. A key of no task is left out.
func (p *Projections) TasksOfKeys(ctx context.Context, by Actor, keys []string) (map[string]uuid.UUID, error) {
	ids := make([]uuid.UUID, len(keys))
	for i, key := range keys {
		ids[i] = domain.TaskKeyID(key)
	}
	var found []struct{ ID, TaskID uuid.UUID }
	mark, err := p.Fresh(ctx, by.Workspace, pg.Rows(&found, `select id, task_id from task_key where id = any($1)`, ids).Light())
	if err != nil {
		return nil, err
	}
	tasks := map[uuid.UUID]uuid.UUID{}
	for _, row := range found {
		tasks[row.ID] = row.TaskID
	}
	named := map[string]uuid.UUID{}
	for i, key := range keys {
		task, there := tasks[ids[i]]
		if there {
			named[key] = task
		} else if mark.Behind() > 0 { // the missing events may give the key
			return nil, catchingUp(mark)
		}
	}
	return named, nil
}
