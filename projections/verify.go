package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

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
	bad, err := p.reached(ctx, w)
	if bad != nil {
		verdict.Findings = append(verdict.Findings, *bad)
	}
	if err != nil || bad != nil {
		return verdict, err
	}
	drifts, err := p.Check(ctx, w, progress)
	for _, d := range drifts {
		verdict.Findings = append(verdict.Findings, d.finding())
	}
	return verdict, err
}

// reached compares how far the log and the read models go, before a catch-up changes that. Rows and checkpoint are stored together, behind the
// events: so no row comes from behind the checkpoint, and no checkpoint is behind the head. Read models that know more than a log that is whole are
// what is left of records that were cut off, when head and tree were made to fit.
func (p *Projections) reached(ctx context.Context, w pg.Workspace) (*eventstore.Finding, error) {
	var last []string
	for _, m := range models {
		last = append(last, fmt.Sprintf("select '%[1]s' as name, max(position) as position from %[1]s", m.table()))
	}
	var head, checkpoint, row int64
	var name string
	err := p.db.InAsOwner(ctx, w, func(tx *pg.Tx) error {
		return tx.Run(ctx, pg.Exec(`set local statement_timeout = 0`), //sqlcheck:allow names of our own tables
			pg.Exec(`select head.position, coalesce((select position from checkpoint), -1), name, coalesce(last.position, 0) from head,
				(`+strings.Join(last, " union all ")+`) as last order by last.position desc nulls last limit 1`).Scan(&head, &checkpoint, &name, &row))
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look how far the read models are: %w", err)
	case checkpoint > head:
		return &eventstore.Finding{Position: head + 1, Kind: eventstore.CutTail,
			Detail: fmt.Sprintf("the log ends at %d, and the read models have it up to %d: its end was cut off, or it was put back to %[1]d", head, checkpoint)}, nil
	case row > head:
		return &eventstore.Finding{Position: head + 1, Kind: eventstore.CutTail,
			Detail: fmt.Sprintf("the log ends at %d, and a row of %s comes from %d: its end was cut off, or it was put back to %[1]d", head, name, row)}, nil
	case checkpoint < 0:
		return &eventstore.Finding{Kind: eventstore.ReadModel, Detail: "the row that says how far they have the log is gone, or says less than nothing"}, nil
	case row > checkpoint:
		return &eventstore.Finding{Position: checkpoint + 1, Kind: eventstore.ReadModel,
			Detail: fmt.Sprintf("they say that they have the log up to %d, and a row of %s comes from %d: their checkpoint was set back; `kluis rebuild` mends that", checkpoint, name, row)}, nil
	}
	return nil, nil
}
