package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TaskExternals is the read model of the pairs of external source and id, each with its task.
var TaskExternals = newModel("task_external", domain.ExternalStream, ofKind("external"), (*domain.TaskExternal).Apply,
	func(x domain.TaskExternal) uuid.UUID { return x.ID })

// FindExternals is the query for the tasks of pairs, by their keys. A pair that no task ever had has no row.
func FindExternals(into *[]domain.TaskExternal, keys []uuid.UUID) pg.Statement {
	return pg.Rows(into, `select id, task_id, version, position from task_external where id = any($1)`, keys)
}
