package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

const (
	growEvery = time.Second      // how often trees grow, so that a checkpoint that is asked for need not wait
	keepEvery = 10 * time.Minute // how often a checkpoint of a workspace is kept outside the database, at most
)

// moved are the workspaces whose log may have more than their tree.
type moved struct {
	mu sync.Mutex
	of map[pg.Workspace]bool
}

func (m *moved) add(workspaces ...pg.Workspace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[pg.Workspace]bool{}
	}
	for _, w := range workspaces {
		m.of[w] = true
	}
}

func (m *moved) drain() map[pg.Workspace]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.of
	m.of = nil
	return all
}

// growTrees has the Merkle trees of workspaces that have new events grow, and keeps checkpoints of them, until ctx ends. It goes
// through all workspaces at first: nobody knows what another process left undone.
func (j *Jobs) growTrees(ctx context.Context) error {
	if entries, err := j.Commands.Tenancy.List(ctx, 0); err == nil {
		for _, e := range entries {
			j.moved.add(e.Workspace())
		}
	}
	kept, due := map[pg.Workspace]time.Time{}, map[pg.Workspace]bool{}
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	for {
		for w := range j.moved.drain() {
			switch whole, err := j.growTree(ctx, w); {
			case !whole:
				j.moved.add(w)
			case err == nil:
				due[w] = true
			}
		}
		for w := range due {
			if time.Since(kept[w]) >= keepEvery && j.keepCheckpoint(ctx, w) {
				kept[w] = time.Now()
				delete(due, w)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// growTree has a tree grow. It is whole when there is nothing to come back for before the workspace moves again.
func (j *Jobs) growTree(ctx context.Context, w pg.Workspace) (whole bool, err error) {
	tree, err := j.Commands.Store.GrowFor(ctx, w, patience)
	if err == nil {
		return tree.Behind() == 0, nil
	}
	if isTemporary(ctx, err) {
		return false, err
	}
	j.Log.ErrorContext(ctx, "the Merkle tree of a workspace does not grow; `kluis verify` says more", "workspace", w.ID, "error", err.Error())
	return true, err
}

// keepCheckpoint tells whether there is nothing to come back for. A checkpoint that is refused has been told of.
func (j *Jobs) keepCheckpoint(ctx context.Context, w pg.Workspace) bool {
	signed, at, err := j.Commands.KeepCheckpoint(ctx, w)
	if err == nil {
		if signed != nil {
			j.witnesses.add(w, signed, at)
		}
		return true
	}
	if isTemporary(ctx, err) {
		return false
	}
	if _, refused := domain.Refusal(err); !refused {
		j.Log.ErrorContext(ctx, "a checkpoint could not be kept", "workspace", w.ID, "error", err.Error())
	}
	return true
}

// isTemporary tells whether an error goes by itself: an outage, or the end of the process.
func isTemporary(ctx context.Context, err error) bool {
	refusal, _ := domain.Refusal(err)
	_, outage := pg.OutageOf(err)
	return ctx.Err() != nil || outage || refusal != nil && refusal.Kind == domain.Unavailable
}
