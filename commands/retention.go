package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Pruning is what is due to be pruned in a workspace, or what was pruned.
type Pruning struct {
	Workspace domain.Workspace
	Retention domain.Retention // in force
	UpTo      int64            // the position of the last pruned record
	At        time.Time        // of that record
	Events    int64            // how many records are pruned; 0 for none
	Deleted   int64            // how many records were deleted, with those that an earlier run had left
}

// clocksApart is how far the clocks of this process and of the database may differ. When they differ more, nothing is pruned.
const clocksApart = 5 * time.Minute

// DuePruning tells what the plan of a workspace requires to be pruned, and changes nothing.
func (c *Commands) DuePruning(ctx context.Context, w pg.Workspace) (Pruning, error) {
	_, p, err := c.duePruning(ctx, w)
	return p, err
}

func (c *Commands) duePruning(ctx context.Context, w pg.Workspace) (due eventstore.Overdue, p Pruning, err error) {
	if p.Workspace, _, err = c.Projections.GetWorkspace(ctx, w); err != nil {
		return due, p, err
	}
	now, err := c.now(ctx)
	if err != nil {
		return due, p, err
	}
	p.Retention = p.Workspace.Retention(now)
	keep := time.Duration(p.Retention)
	if keep == 0 {
		keep = domain.Forever
	}
	if err := c.DB.Read(ctx, w, eventstore.LookOverdue(&due, keep, domain.TypeOf(domain.LogPruned{}))); err != nil {
		return due, p, err
	}
	if apart := c.Wall().Sub(due.Now).Abs(); apart > clocksApart {
		return due, p, fmt.Errorf("nothing is pruned: the clocks of this machine and of the database are %s apart, so one of them is wrong", apart.Round(time.Second))
	}
	if p.UpTo, p.At = due.Pruned, due.At; due.Worth && p.Retention != 0 && !p.Workspace.LegalHold {
		p.UpTo, p.Events = due.Position, due.Events()
	}
	return due, p, nil
}

// Hearer hears of the progress of a pruning. Either function may be nil.
type Hearer struct {
	Progress func(position, of int64)
	Step     func(step string) error // after each step; its error ends the pruning there
}

func (h Hearer) step(name string) error {
	if h.Step == nil {
		return nil
	}
	return h.Step(name)
}

// Prune deletes what is older than the plan of a workspace says:
//
//  1. A checkpoint over the whole log is kept outside the database, so that an auditor with this checkpoint, or with an older one, can go on checking
//     the log ("kept").
//  2. The log is verified. A log that somebody changed is not pruned ("verified").
//  3. The states that the old records made are stored as baselines ("stored"). Baselines and the later records must give the live rows ("compared",
//     see projections.Prune).
//  4. One transaction moves the horizon and appends log.pruned with the hash of the baselines ("pruned"). From its commit on nobody reads the records
//     before the horizon.
//  5. Those records are deleted, a few at a time (eventstore.DeletePruned: "baselines", "keys", "answers", "records").
//
// Killed before 4, nothing has happened; killed after 4, the next run goes on with 5. Of two runs at once, one ends in 3 with
// projections.ErrRebuilding or ErrPruned; both may do 5.
func (c *Commands) Prune(ctx context.Context, w pg.Workspace, hear Hearer) (Pruning, error) {
	due, p, err := c.duePruning(ctx, w)
	if err != nil {
		return p, err
	}
	if p.Events > 0 {
		if err := c.prune(ctx, w, due, p, hear); err != nil {
			return p, err
		}
	}
	if p.Events == 0 && !due.Left {
		return p, nil
	}
	err = c.Store.DeletePruned(ctx, w, func(what string, rows int64) error {
		if rows == 0 {
			return hear.step(what)
		}
		if what == "records" {
			if p.Deleted += rows; hear.Progress != nil {
				hear.Progress(p.Deleted, max(p.Deleted, p.Events))
			}
		}
		return nil
	})
	return p, err
}

func (c *Commands) prune(ctx context.Context, w pg.Workspace, due eventstore.Overdue, p Pruning, hear Hearer) error {
	if _, _, err := c.KeepCheckpoint(ctx, w); err != nil {
		return fmt.Errorf("keep a checkpoint: %w", err)
	}
	if err := hear.step("kept"); err != nil {
		return err
	}
	verdict, err := c.Projections.Verify(ctx, w, projections.Expected(w, nil, 1), false, hear.Progress)
	if err == nil && len(verdict.Findings) > 0 {
		err = fmt.Errorf("nothing was pruned: somebody changed the log: %s", verdict.Findings[0])
	}
	if err == nil {
		err = hear.step("verified")
	}
	if err != nil {
		return err
	}
	root, tree, err := c.Store.Edge(ctx, w, due.Position)
	if err != nil {
		return err
	}
	said := domain.LogPruned{UpTo: due.Position, At: due.At.UTC(), Root: encodeHash(root), Plan: p.Workspace.Plan, RetentionSeconds: int(time.Duration(p.Retention) / time.Second)}
	for _, hash := range tree {
		said.Tree = append(said.Tree, encodeHash(hash))
	}
	stored := func(baselines string) error {
		said.Baselines = baselines
		return hear.step("stored")
	}
	var receipt eventstore.Receipt
	err = c.Projections.Prune(ctx, w, due, hear.Progress, stored, func(tx *pg.Tx) error {
		if err := hear.step("compared"); err != nil {
			return err
		}
		receipt, err = c.moveHorizon(ctx, tx, w, due, said, p.Workspace.Version)
		return err
	})
	if errors.As(err, new(*eventstore.MovedError)) {
		return fmt.Errorf("nothing was pruned: a legal hold, or another plan, came meanwhile: %w", err)
	}
	if err != nil {
		return err
	}
	c.Store.Appended(w, receipt)
	return hear.step("pruned")
}

// moveHorizon does step 4 of Prune. When the workspace got a legal hold or another plan meanwhile, its stream has moved, and nothing is pruned.
func (c *Commands) moveHorizon(ctx context.Context, tx *pg.Tx, w pg.Workspace, due eventstore.Overdue, said domain.LogPruned, version int) (receipt eventstore.Receipt, err error) {
	write, err := encode(domain.LogStream, eventstore.Any, []domain.Event{said}, nil)
	if err != nil {
		return receipt, err
	}
	if err := tx.Run(ctx, eventstore.MoveHorizon(due)); err != nil {
		return receipt, fmt.Errorf("move the horizon: %w", err)
	}
	return c.Store.AppendIn(ctx, tx.Run, w, eventstore.Append{Writes: []eventstore.Write{write}, Guards: []eventstore.Guard{
		{Stream: domain.WorkspaceStream(w.ID), Version: version}}})
}
