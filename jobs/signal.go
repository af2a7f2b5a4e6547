package jobs

import (
	"context"
	"fmt"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// follow handles signals until ctx ends.
func (j *Jobs) follow(ctx context.Context) error {
	return eventstore.NewSignals(j.DB, j.Bell, j.Log).Run(ctx, j.handle)
}

// handle brings one workspace up to a signal, or up to the head when the log has gone back behind the signal. It may run twice for the
// same signal, even at once: the checkpoint and the reaction row say what is done. When it fails, it runs again later. A workspace that
// this process must not serve at the moment is left to others: it is being erased or moved, it lacks migrations, or a newer process has
// folded it.
func (j *Jobs) handle(ctx context.Context, s eventstore.Signal) error {
	err := j.bringUp(ctx, s)
	refusal, is := domain.Refusal(err)
	if outage, _ := pg.OutageOf(err); outage == pg.Closed || is && refusal.Kind == domain.Unavailable {
		return fmt.Errorf("%w: %w", eventstore.ErrLeave, err)
	}
	return err
}

func (j *Jobs) bringUp(ctx context.Context, s eventstore.Signal) error {
	if !j.NoCatchUp {
		mark, err := j.Projections.Fold(ctx, s.Workspace)
		if want := min(s.Position, mark.Head); err == nil && mark.Position < want { // the catch-up ran out of time
			err = fmt.Errorf("the read models of workspace %s are at position %d of %d", s.Workspace.ID, mark.Position, want)
		}
		if err != nil {
			return err
		}
	}
	j.moved.add(s.Workspace)
	return j.react(ctx, s)
}
