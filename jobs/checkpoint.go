package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

const (
	growEvery  = time.Second      // how often trees grow, so that a request for a checkpoint need not wait
	keepEvery  = 10 * time.Minute // a checkpoint of a workspace is kept outside of the database once in this time at most
	leftAtOnce = 20               // workspaces that are looked at after a start, each growEvery: with thousands, requests go first
)

// moved are the workspaces whose tree may lack events of the log.
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

// growTrees grows the Merkle trees of workspaces with new events, and keeps checkpoints of them, until ctx ends. At first it also goes through all
// workspaces, a few at once, because another process may have left some of it undone.
func (j *Jobs) growTrees(ctx context.Context) error {
	left, _ := j.Commands.Tenancy.List(ctx, 0) // in an outage none: whoever adds events tells of a workspace, too
	kept, due := map[pg.Workspace]time.Time{}, map[pg.Workspace]bool{}
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	for {
		for range min(leftAtOnce, len(left)) {
			j.moved.add(left[0].Workspace())
			left = left[1:]
		}
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

// growTree grows a tree. whole tells that there is nothing more to do before the workspace has new events.
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

// keepCheckpoint keeps a checkpoint of a workspace. It returns true when there is nothing to try again. A refusal is not logged here.
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

// isTemporary tells whether an error passes by itself: an outage, or the end of the process.
func isTemporary(ctx context.Context, err error) bool {
	refusal, _ := domain.Refusal(err)
	_, outage := pg.OutageOf(err)
	return ctx.Err() != nil || outage || refusal != nil && refusal.Kind == domain.Unavailable
}
