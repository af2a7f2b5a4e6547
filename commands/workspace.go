package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// UpdateWorkspace renames the workspace, changes its plan and the rules of its time.
func (c *Commands) UpdateWorkspace(ctx context.Context, r Request, wanted domain.WorkspaceChange) (Result[domain.Workspace], error) {
	return c.changeWorkspace(ctx, r, func(w domain.Workspace) ([]domain.Event, error) { return w.Change(wanted) })
}

func (c *Commands) changeWorkspace(ctx context.Context, r Request, decide func(domain.Workspace) ([]domain.Event, error)) (Result[domain.Workspace], error) {
	before := domain.Workspace{ID: r.By.Workspace.ID}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Workspace
		if err := a.read(ctx, projections.LoadWorkspace(&rows)); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, domain.UpdateWorkspace); err != nil {
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
