package projections

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Progress gets the position that a rebuild has reached, and the position at which the rebuild ends.
type Progress func(position, of int64)

// Rebuild derives all read models of a workspace again from its log, while they are in use:
//
//  1. It folds the log from its beginning, as the ordinary catch-up does (foldIn), into the tables of a schema of its own, the shadow,
//     up to the live checkpoint.
//  2. It locks the live checkpoint, so that no other process folds, and folds the events that came meanwhile into the shadow.
//  3. It changes the live rows that differ (merge.go), in one transaction. Readers see the rows before or after that.
//
// When a rebuild is killed, the live rows are as before, and the next rebuild begins again. Rows of a newer fold become rows of this one, as an
// operator wants after a rollback of the program.
func (p *Projections) Rebuild(ctx context.Context, w pg.Workspace, progress Progress) (events int64, err error) {
	return p.rebuild(ctx, w, math.MaxInt32, progress)
}

func (p *Projections) rebuild(ctx context.Context, w pg.Workspace, newest int, progress Progress) (events int64, err error) {
	err = p.withShadow(ctx, w, progress, func(s pg.Shadow, filled *Mark) error {
		return p.aligned(ctx, s, filled, func(tx *pg.Tx) error {
			events = filled.Position
			var replaced []int
			err := tx.Run(ctx, pg.Column(&replaced, `update checkpoint set roster = $1, shape = $2, oldest = $2 where shape <= $3 returning shape`, filled.Roster, p.shape, newest))
			if err != nil {
				return err
			}
			if len(replaced) == 0 { // a newer process has folded meanwhile
				return domain.ErrNewer
			}
			return merge(ctx, tx, s)
		})
	})
	if err == nil {
		err = p.noteShape(ctx, w, p.shape)
	}
	return events, err
}

// noteShape writes the shape of a workspace's rows into the directory. The checkpoint has the shape already, so after a kill before this write
// the next Renew finds it there.
func (p *Projections) noteShape(ctx context.Context, w pg.Workspace, shape int) error {
	return p.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.workspace set shape = $2 where id = $1`, w.ID, shape)
		return err
	})
}

// Outdated gives the workspaces that may have rows of an older shape than this program's, the oldest workspaces first, with one query.
func (p *Projections) Outdated(ctx context.Context) (outdated []pg.Workspace, err error) {
	err = p.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select id from kluis.workspace where status = 'active' and shape < $1 order by id`, p.shape)
		if err != nil {
			return err
		}
		outdated, err = pgx.CollectRows(rows, pgx.RowToStructByName[pg.Workspace])
		return err
	})
	return outdated, err
}

// Renew rebuilds the read models of a workspace when they have rows of an older shape than this program's. Rows of a newer shape stay.
func (p *Projections) Renew(ctx context.Context, w pg.Workspace, progress Progress) (events int64, err error) {
	mark, err := p.Fold(ctx, w) // so that a workspace without rows gets rows of this shape
	if errors.Is(err, domain.ErrNewer) {
		mark, err = p.Read(ctx, w)
	}
	switch {
	case err != nil:
		return 0, err
	case mark.Oldest >= p.shape:
		return 0, p.noteShape(ctx, w, mark.Oldest)
	case mark.Shape > p.shape: // the newer process rebuilds
		return 0, nil
	}
	return p.rebuild(ctx, w, p.shape, progress)
}

// Drift is the number of rows of a read model that differ from the log: changed, missing, or superfluous ones.
type Drift struct {
	Table string
	Rows  int
}

// Check compares the read models with a fold of the log, and changes nothing. The result is nil when there is no difference.
func (p *Projections) Check(ctx context.Context, w pg.Workspace, progress Progress) (drifts []Drift, err error) {
	err = p.withShadow(ctx, w, progress, func(s pg.Shadow, filled *Mark) error {
		return p.aligned(ctx, s, filled, func(tx *pg.Tx) error {
			drifts, err = compare(ctx, tx, s, filled.Roster)
			return err
		})
	})
	return drifts, err
}

// ErrRebuilding says that another process rebuilds the workspace.
var ErrRebuilding = errors.New("the workspace is being rebuilt already")

// withShadow folds the log into a shadow, up to the live checkpoint, and calls use with the shadow.
func (p *Projections) withShadow(ctx context.Context, w pg.Workspace, progress Progress, use func(pg.Shadow, *Mark) error) error {
	return p.alone(ctx, w, func(ctx context.Context) error { return p.inShadow(ctx, w, 0, progress, use) })
}

// alone calls do, in only one process at a time for a workspace. The lock belongs to a transaction that stays open meanwhile. When that
// transaction ends early, the next rebuild uses a shadow with another name and drops this one, so two rebuilds never mix.
func (p *Projections) alone(ctx context.Context, w pg.Workspace, do func(ctx context.Context) error) error {
	return p.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		var first bool
		err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, w.Schema()+" rebuild").Scan(&first)
		if err != nil {
			return err
		}
		if !first {
			return fmt.Errorf("workspace %s: %w", w.ID, ErrRebuilding)
		}
		if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '1min'`); err != nil {
			return err
		}
		// A migration would change the live tables and not the shadow's. An erasure, or a move, would leave a shadow that is made behind it.
		if err := pg.LockStatus(ctx, tx, w); err != nil {
			return err
		}
		return pg.KeepAlive(ctx, tx, do)
	})
}

func (p *Projections) inShadow(ctx context.Context, w pg.Workspace, horizon int64, progress Progress, use func(pg.Shadow, *Mark) error) error {
	shadow, err := p.makeShadow(ctx, w)
	if err != nil {
		return fmt.Errorf("make shadow tables: %w", err)
	}
	var filled Mark
	if err := p.fillShadow(ctx, shadow, horizon, &filled, progress); err != nil {
		return fmt.Errorf("fill shadow tables: %w", err)
	}
	if err := use(shadow, &filled); err != nil {
		return err
	}
	return p.dropShadows(ctx, w)
}

// fillShadow folds the log into the shadow, from a present or future horizon up to the live checkpoint. While one page is stored, the next one is
// read and decoded.
func (p *Projections) fillShadow(ctx context.Context, s pg.Shadow, horizon int64, filled *Mark, progress Progress) error {
	mark, err := p.Fold(ctx, s.Workspace)
	if errors.Is(err, domain.ErrNewer) { // then up to the checkpoint of the newer process
		mark, err = p.Read(ctx, s.Workspace)
	}
	if err != nil {
		return err
	}
	var head eventstore.Head
	if err := p.db.Read(ctx, s.Workspace, eventstore.LookHead(&head), eventstore.Version(&filled.Roster, domain.RosterStream)); err != nil {
		return err
	}
	horizon = max(horizon, head.Pruned)
	if horizon == 0 {
		filled.Roster = 0
	}
	if err := p.layBaseline(ctx, s, horizon, filled); err != nil {
		return err
	}
	if err := p.fillUpTo(ctx, s, mark.Position, filled, progress); err != nil {
		return err
	}
	if err := p.indexShadow(ctx, s); err != nil {
		return fmt.Errorf("index the shadow tables: %w", err)
	}
	return nil
}

// fillUpTo folds the log into the shadow, from filled up to a position.
func (p *Projections) fillUpTo(ctx context.Context, s pg.Shadow, upTo int64, filled *Mark, progress Progress) error {
	for page, err := range p.pagesAhead(ctx, s.Workspace, filled.Position, upTo) {
		if err != nil {
			return err
		}
		if err := p.fillPage(ctx, s, page.records, filled); err != nil {
			return err
		}
		if progress != nil {
			progress(filled.Position, upTo)
		}
	}
	return nil
}

// fillPage folds a page into the shadow, which is at filled.
func (p *Projections) fillPage(ctx context.Context, s pg.Shadow, records []domain.Record, filled *Mark) error {
	return p.db.InShadow(ctx, s, func(tx *pg.Tx) error {
		// Plans are made while the tables are empty, as in lanes. After a crash the rebuild begins again.
		if err := tx.Run(ctx, pg.Exec(`set local enable_seqscan = off`), commitAsync()); err != nil {
			return err
		}
		stores, err := foldIn(ctx, tx, records, filled)
		if err != nil {
			return err
		}
		return tx.Commit(ctx, stores[:len(stores)-1]...) // the last statement moves the checkpoint; a shadow has filled instead
	})
}

// aligned runs fn in a transaction of the owner that has locked the live checkpoint, with the shadow at that checkpoint. It waits a moment for a
// catch-up under way, gives up the lock, and tries again.
func (p *Projections) aligned(ctx context.Context, s pg.Shadow, filled *Mark, fn func(tx *pg.Tx) error) error {
	for end := time.Now().Add(time.Minute); ; {
		err := p.db.InAsOwner(ctx, s.Workspace, func(tx *pg.Tx) error {
			var live int64
			if err := tx.Run(ctx,
				pg.Exec(`set local lock_timeout = '200ms'`),
				pg.Exec(`set local statement_timeout = 0`),
				pg.Exec(`set local idle_in_transaction_session_timeout = '1min'`),
				pg.Exec(`select position from checkpoint for update`).Scan(&live),
			); err != nil {
				return fmt.Errorf("wait for the catch-up under way: %w", err)
			}
			if live < filled.Position {
				return fmt.Errorf("the log went back while it was folded, from position %d to %d", filled.Position, live)
			}
			if err := p.fillUpTo(ctx, s, live, filled, nil); err != nil {
				return err
			}
			return fn(tx)
		})
		if !pg.Is(err, pg.LockNotAvailable) || time.Now().After(end) {
			return err
		}
	}
}
