package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// DriftError refuses to prune a log, because the rest of the log would not make the present rows.
type DriftError struct{ Drifts []Drift }

func (e *DriftError) Error() string {
	var differ []string
	for _, d := range e.Drifts {
		differ = append(differ, fmt.Sprintf("%d rows of %s", d.Rows, d.Table))
	}
	return "nothing was pruned: without the old records the log would not make " + strings.Join(differ, ", ") + "; `kluis verify` tells whether the whole log makes them"
}

// ErrPruned says that another process has pruned the log since LookOverdue.
var ErrPruned = errors.New("the log was pruned by another process meanwhile")

// Prune prunes the records that are due:
//
//  1. Baselines that do not count yet are deleted. They are left from a run that was interrupted, or were forged.
//  2. The log is folded into a shadow, from the earlier baselines up to the last record that is due. The rows are stored as baselines, which do
//     not count yet. stored gets their hash.
//  3. Another shadow is made from these baselines and all events behind them, up to the live checkpoint, which stays locked from here on.
//  4. The rows of this shadow must be equal to the live ones. Otherwise the error is a DriftError, and nothing is pruned.
//  5. gone moves the horizon in the same transaction. From its commit on, the baselines count and readers skip the records before them.
//
// When a pruning is killed before step 5, the next one begins again. The records are deleted after step 5.
func (p *Projections) Prune(ctx context.Context, w pg.Workspace, due eventstore.Overdue, progress Progress, stored func(baselines string) error, gone func(tx *pg.Tx) error) error {
	return p.alone(ctx, w, func(ctx context.Context) error {
		var head eventstore.Head
		if err := p.db.Read(ctx, w, eventstore.LookHead(&head)); err != nil {
			return err
		}
		if head.Pruned != due.Pruned {
			return fmt.Errorf("workspace %s: %w", w.ID, ErrPruned)
		}
		if err := p.db.InAsOwner(ctx, w, func(tx *pg.Tx) error { return tx.Commit(ctx, eventstore.ForgetBaselines(due.Pruned)) }); err != nil {
			return fmt.Errorf("delete baselines that do not count: %w", err)
		}
		shadow, err := p.makeShadow(ctx, w)
		if err != nil {
			return fmt.Errorf("make shadow tables: %w", err)
		}
		var filled Mark
		if err := p.layBaseline(ctx, shadow, due.Pruned, &filled); err != nil {
			return err
		}
		if err := p.fillUpTo(ctx, shadow, due.Position, &filled, progress); err != nil {
			return err
		}
		if err := p.storeBaseline(ctx, shadow, due.Pruned, due.Position); err != nil {
			return err
		}
		hash, err := eventstore.HashBaselines(ctx, eventstore.Reading(p.db, w), due.Position)
		if err != nil {
			return fmt.Errorf("hash the baselines: %w", err)
		}
		if err := stored(hash); err != nil {
			return err
		}
		return p.inShadow(ctx, w, due.Position, progress, func(s pg.Shadow, filled *Mark) error {
			return p.aligned(ctx, s, filled, func(tx *pg.Tx) error {
				drifts, err := compare(ctx, tx, s, filled.Roster)
				if err != nil {
					return err
				}
				if len(drifts) > 0 {
					return &DriftError{drifts}
				}
				return gone(tx)
			})
		})
	})
}
