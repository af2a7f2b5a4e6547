package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

const (
	rebuildsAtOnce = 2               // in one process: each takes a core
	rebuildEvery   = time.Minute     // how often to look for read models of an older shape, by one query
	rebuildAgain   = 5 * time.Second // how soon when there were some, which other processes may be rebuilding, or which lack migrations
	rebuildPause   = time.Hour       // the longest pause between two tries of what fails
)

// setback is the failed rebuild of a workspace.
type setback struct {
	failures int
	again    time.Time
}

// renew rebuilds read models that have rows of an older shape than this program's folds, until ctx ends. Several processes share the work: each
// goes through it in an order of its own, and passes over what another one is rebuilding.
func (j *Jobs) renew(ctx context.Context) error {
	setbacks := map[pg.Workspace]setback{}
	for {
		pause := rebuildEvery
		if outdated, err := j.Projections.Outdated(ctx); err != nil || len(outdated) > 0 {
			j.renewAll(ctx, outdated, setbacks)
			pause = rebuildAgain
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (j *Jobs) renewAll(ctx context.Context, outdated []pg.Workspace, setbacks map[pg.Workspace]setback) {
	var group errgroup.Group
	group.SetLimit(rebuildsAtOnce)
	failed := make([]error, len(outdated))
	order := rand.Perm(len(outdated)) //nolint:gosec // keeps processes apart, guards nothing
	for _, i := range order {
		if w := outdated[i]; ctx.Err() == nil && time.Now().After(setbacks[w].again) {
			group.Go(func() error { failed[i] = panics.Caught(func() error { return j.renewOne(ctx, w) })(); return nil })
		}
	}
	_ = group.Wait() // no function returns an error
	for i, w := range outdated {
		if failed[i] == nil || ctx.Err() != nil {
			continue
		}
		n := setbacks[w].failures
		pause := min(rebuildEvery<<min(n, 10), rebuildPause)
		setbacks[w] = setback{n + 1, time.Now().Add(pause)}
		j.Log.ErrorContext(ctx, "the read models of a workspace could not be rebuilt for this version", "workspace", w.ID,
			"again_in", pause.String(), "error", failed[i].Error())
	}
}

func (j *Jobs) renewOne(ctx context.Context, w pg.Workspace) error {
	begun := time.Now()
	events, err := j.Projections.Renew(ctx, w, nil)
	refusal, _ := domain.Refusal(err)
	if errors.Is(err, projections.ErrRebuilding) || refusal != nil && refusal.Kind == domain.Unavailable { // another process rebuilds it, or it cannot be rebuilt yet
		return nil
	}
	if err == nil && events > 0 {
		j.Log.InfoContext(ctx, "read models rebuilt for this version", "workspace", w.ID, "events", events, "took", time.Since(begun).Round(time.Millisecond).String())
	}
	return err
}
