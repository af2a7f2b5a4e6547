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
	restored := domain.TypeOf(domain.WorkspaceRestored{})
	e := eventstore.Expected{Marks: marks, Epoch: epoch, Pruned: PrunedIn, Restore: func(r eventstore.Record) int {
		var event domain.WorkspaceRestored
		if r.Type == restored && json.Unmarshal(r.Data, &event) == nil {
			return event.Epoch
		}
		return 0
	}}
	if w != (pg.Workspace{}) {
		e.First = domain.WorkspaceStream(w.ID)
	}
	return e
}

var (
	logPruned = domain.TypeOf(domain.LogPruned{})
	imported  = domain.TypeOf(domain.WorkspaceImported{})
)

// PrunedIn is what a record says of those that were pruned. Where a log was loaded, what is sealed in baselines was sealed anew.
func PrunedIn(r eventstore.Record) (p eventstore.Pruned) {
	switch {
	case r.Type == imported:
		var event domain.WorkspaceImported
		if json.Unmarshal(r.Data, &event) == nil {
			p.Baselines = event.Baselines
		}
	case r.Type == logPruned && r.Stream == domain.LogStream:
		var event domain.LogPruned
		if json.Unmarshal(r.Data, &event) != nil {
			return p
		}
		p = eventstore.Pruned{UpTo: event.UpTo, At: event.At, Baselines: event.Baselines}
		p.Root, _ = tlog.ParseHash(event.Root) // none is none of the tree's
		for _, text := range event.Tree {
			hash, _ := tlog.ParseHash(text)
			p.Tree = append(p.Tree, hash)
		}
	}
	return p
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
