package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// DriftError refuses to prune a log: what would be left of it does not make the rows that there are.
type DriftError struct{ Drifts []Drift }

func (e *DriftError) Error() string {
	var differ []string
	for _, d := range e.Drifts {
		differ = append(differ, fmt.Sprintf("%d rows of %s", d.Rows, d.Table))
	}
	return "nothing was pruned: without the old records the log would not make " + strings.Join(differ, ", ") + "; `kluis verify` says whether that is so with them, too"
}

// ErrPruned says that another process has pruned the log since it was looked up what is due.
var ErrPruned = errors.New("it was pruned by another process meanwhile")

// Prune makes what is due gone:
//
//  1. Baselines that do not count yet are deleted: they are of a run that was broken off, or nobody's.
//  2. The log is folded into a shadow, from the baselines of before up to where it is due, and what comes of that is stored as baselines. They
//     do not count yet. stored is told their hash.
//  3. Another shadow is made of these baselines and of all events behind them, up to where the live read models are. Nobody folds from
//     here on.
//  4. Its rows must be the live ones: else it is a DriftError, and nothing is pruned.
//  5. gone makes it so, in the same transaction: from its commit on, the baselines count and the records before are nobody's.
//
// Killed before that, the next one begins anew. The records are deleted behind that.
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
