package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Workspaces is the read model of the workspace itself: one row.
var Workspaces = newModel("workspace", domain.WorkspaceStream,
	ofKind("workspace"),
	(*domain.Workspace).Apply,
	func(w domain.Workspace) uuid.UUID { return w.ID })

var selectWorkspace = `select ` + readable[domain.Workspace](Workspaces.name, Workspaces.columns, nil) + ` from workspace`

// GetWorkspace answers with the workspace itself.
func (p *Projections) GetWorkspace(ctx context.Context, w pg.Workspace) (domain.Workspace, Mark, error) {
	return get[domain.Workspace](ctx, p, w, "workspace", selectWorkspace) //sqlcheck:allow made once, of constants
}

// WorkspaceAsOf answers with the workspace as it was at a moment.
func (p *Projections) WorkspaceAsOf(ctx context.Context, w pg.Workspace, at time.Time) (domain.Workspace, Mark, error) {
	state, mark, err := Workspaces.then(ctx, p, w, w.ID, at)
	if err == nil && state.ID == uuid.Nil {
		err = domain.Missing(Workspaces.name)
	}
	return state, mark, err
}

// LoadWorkspace is the query for a decision on the workspace.
func LoadWorkspace(into *[]domain.Workspace) pg.Statement {
	return pg.Rows(into, selectWorkspace) //sqlcheck:allow made once, of constants
}
