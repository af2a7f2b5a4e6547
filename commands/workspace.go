package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// UpdateWorkspace changes the name, the plan and the time rules of a workspace.
func (c *Commands) UpdateWorkspace(ctx context.Context, r Request, wanted domain.WorkspaceChange) (Result[domain.Workspace], error) {
	return c.changeWorkspace(ctx, r, domain.UpdateWorkspace, func(w domain.Workspace) ([]domain.Event, error) { return w.Change(wanted) })
}

// changeWorkspace is every command on the workspace itself. The statements in also run in the same round trip as the reads for decide.
func (c *Commands) changeWorkspace(ctx context.Context, r Request, p domain.Permission, decide func(domain.Workspace) ([]domain.Event, error), also ...pg.Statement) (Result[domain.Workspace], error) {
	before := domain.Workspace{ID: r.By.Workspace.ID}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Workspace
		if err := a.read(ctx, append(also, projections.LoadWorkspace(&rows))...); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, p); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 {
			return plan{}, domain.Missing("workspace")
		}
		before = rows[0]
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := decide(before)
		return plan{stream: domain.WorkspaceStream(before.ID), version: before.Version, events: events}, err
	})
	return result(ctx, c, r, projections.Workspaces, before, done, err)
}
