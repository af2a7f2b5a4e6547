package projections

import (
	"context"
	"encoding/json"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Expected is what a workspace's log must be, with checkpoints that are known from elsewhere. epoch is the last one that is known to
// have begun with a restore.
func Expected(w pg.Workspace, marks []eventstore.Mark, epoch int) eventstore.Expected {
	restored, pruned := domain.TypeOf(domain.WorkspaceRestored{}), domain.TypeOf(domain.LogPruned{})
	e := eventstore.Expected{Marks: marks, Epoch: epoch, Restore: func(r eventstore.Record) int {
		var event domain.WorkspaceRestored
		if r.Type == restored && json.Unmarshal(r.Data, &event) == nil {
			return event.Epoch
		}
		return 0
	}}
	e.Pruned = func(r eventstore.Record) (upTo int64, root tlog.Hash, tree []tlog.Hash) {
		var event domain.LogPruned
		if r.Type != pruned || r.Stream != domain.LogStream || json.Unmarshal(r.Data, &event) != nil {
			return 0, root, nil
		}
		root, _ = tlog.ParseHash(event.Root) // none is none of the tree's
		for _, text := range event.Tree {
			hash, _ := tlog.ParseHash(text)
			tree = append(tree, hash)
		}
		return event.UpTo, root, tree
	}
	if w != (pg.Workspace{}) {
		e.First = domain.WorkspaceStream(w.ID)
	}
	return e
}

// Verify checks the log of a workspace, and then, if it is right and that is asked for, whether the read models are what it makes.
func (p *Projections) Verify(ctx context.Context, w pg.Workspace, e eventstore.Expected, readModels bool, progress Progress) (eventstore.Verdict, error) {
	verdict, err := p.store.Verify(ctx, w, e, progress)
	if err != nil || len(verdict.Findings) > 0 || !readModels {
		return verdict, err
	}
	drifts, err := p.Check(ctx, w, progress)
	for _, d := range drifts {
		verdict.Findings = append(verdict.Findings, d.finding())
	}
	return verdict, err
}
