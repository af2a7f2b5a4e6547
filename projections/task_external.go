package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TaskExternals is the read model of which task has which external source and id.
var TaskExternals = newModel("task_external", domain.ExternalStream, ofKind("external"), (*domain.TaskExternal).Apply,
	func(x domain.TaskExternal) uuid.UUID { return x.ID })

// FindExternals is the query for who has pairs, by their keys; no row for one that nobody ever had.
func FindExternals(into *[]domain.TaskExternal, keys []uuid.UUID) pg.Statement {
	return pg.Rows(into, `select id, task_id, version, position from task_external where id = any($1)`, keys)
}
