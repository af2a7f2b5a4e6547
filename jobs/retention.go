package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// changePlan mails the admins when a plan that went down shortens how long events are kept.
func (j *Jobs) changePlan(ctx context.Context, tx pgx.Tx, w pg.Workspace, _ domain.WorkspacePlanChanged) error {
	return j.Commands.TellOfRetention(ctx, tx, w)
}

// retainEvery is how often a process looks whether the night has begun, give or take half of it.
const retainEvery = 10 * time.Minute

// retain deletes events that are older than the plans say, each night or as soon as a process runs after it, until ctx ends. Several processes
// share the work: each takes a workspace that none has taken this night. What fails, or is broken off, goes on the next night.
func (j *Jobs) retain(ctx context.Context) error {
	for {
		select {
		case <-time.After(retainEvery/2 + rand.N(retainEvery)): //nolint:gosec // keeps processes apart, guards nothing
		case <-ctx.Done():
			return nil
		}
		if err := j.RetainAll(ctx); err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "workspaces with events older than their plans say could not be looked up", "error", err.Error())
		}
		if err := j.Commands.Tenancy.DropStates(ctx); err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "states that a killed `kluis replay --state` has left could not be dropped", "error", err.Error())
		}
	}
}

// RetainAll prunes every workspace that no process has taken this night.
func (j *Jobs) RetainAll(ctx context.Context) error {
	for ctx.Err() == nil {
		w, err := j.nextRetained(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find a workspace to prune: %w", err)
		}
		begun := time.Now()
		done, err := j.Commands.Prune(ctx, w, commands.Hearer{})
		switch {
		case err != nil && ctx.Err() == nil:
			j.Log.ErrorContext(ctx, "the log of a workspace was not pruned; `kluis retention run` says more", "workspace", w.ID, "error", err.Error())
		case done.Deleted > 0:
			j.Log.InfoContext(ctx, "the log of a workspace was pruned", "workspace", w.ID, "up_to", done.UpTo, "deleted", done.Deleted,
				"retention", done.Retention.String(), "took", time.Since(begun).Round(time.Millisecond).String())
		}
	}
	return nil
}

// nextRetained takes a workspace that no process has taken since the night began, at two o'clock in Brussels.
func (j *Jobs) nextRetained(ctx context.Context) (w pg.Workspace, err error) {
	err = j.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `update kluis.workspace set retained_at = now() where id = (select id from kluis.workspace where status = 'active'
				and retained_at < (date_trunc('day', now() at time zone 'Europe/Brussels' - interval '2 hours') + interval '2 hours') at time zone 'Europe/Brussels'
				order by retained_at limit 1 for update skip locked)
			returning id`).Scan(&w.ID)
	})
	return w, err
}
