package jobs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// planErasure queues the erasure of a workspace that a member has asked for, and tells all admins.
func (j *Jobs) planErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.WorkspaceErasureRequested) error {
	if err := j.Commands.PlanErasure(ctx, tx, w, event.ErasesAt); err != nil {
		return err
	}
	return j.Commands.TellOfErasure(ctx, tx, w, "requested", event.ErasesAt)
}

func (j *Jobs) hastenErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.WorkspaceErasureConfirmed) error {
	if err := j.Commands.PlanErasure(ctx, tx, w, event.ErasesAt); err != nil {
		return err
	}
	return j.Commands.TellOfErasure(ctx, tx, w, "confirmed", event.ErasesAt)
}

func (j *Jobs) cancelErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace, _ domain.WorkspaceErasureCancelled) error {
	if err := j.Commands.ForgetErasure(ctx, tx, w); err != nil {
		return err
	}
	return j.Commands.TellOfErasure(ctx, tx, w, "cancelled", time.Time{})
}

// erasureEvery is how often a process looks for an erasure that is due.
const erasureEvery = 5 * time.Second

// runErasures erases workspaces whose erasure is due, one at a time, until ctx ends.
func (j *Jobs) runErasures(ctx context.Context) error {
	for ctx.Err() == nil {
		found, err := j.nextErasure(ctx)
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "the erasure of a workspace was broken off, and goes on later", "error", err.Error())
		}
		if !found || err != nil {
			select {
			case <-time.After(erasureEvery):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// nextErasure goes on with an erasure that is due and that no other process has taken.
func (j *Jobs) nextErasure(ctx context.Context) (found bool, err error) {
	w, found, err := j.Commands.NextErasure(ctx, nil)
	if err != nil || !found {
		return false, err
	}
	return true, j.Commands.RunErasure(ctx, w, func(step string) error {
		j.Log.InfoContext(ctx, "erasing a workspace", "workspace", w.ID, "done", step)
		return nil
	})
}
