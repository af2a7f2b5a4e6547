package projections

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Projections derives the read models and answers queries on them.
type Projections struct {
	db    *pg.DB
	store *eventstore.Store
	bell  *eventstore.Bell
	bound time.Duration // the longest that a read spends on catching up
}

// Bound is the default of how long a read catches up before it answers with what there is.
const Bound = 2 * time.Second

// New makes the projections of the logs in store; bell tells followers that there is more.
func New(db *pg.DB, store *eventstore.Store, bell *eventstore.Bell, bound time.Duration) *Projections {
	return &Projections{db: db, store: store, bell: bell, bound: bound}
}

const pageSize = 1000 // events of one transaction

// foldColumns are those of a record that a fold needs, for decodeRow.
const foldColumns = `position, stream, version, type, at, actor, data`

// decodeRow reads a record as the domain has it. No fold keeps the data, so it is decoded where the driver has it.
func decodeRow(row pgx.CollectableRow) (r domain.Record, err error) {
	var eventType string
	var actor pgtype.UUID
	var data pgtype.DriverBytes
	if err := row.Scan(&r.Position, &r.Stream, &r.Version, &eventType, &r.At, &actor, &data); err != nil {
		return r, err
	}
	r.Actor = actor.Bytes
	if r.Event, err = domain.Decode(eventType, data); err != nil {
		return r, fmt.Errorf("position %d: %w", r.Position, err)
	}
	return r, nil
}

// CatchUp folds what the log has beyond the checkpoint, in pages of one transaction each, until it has
// seen the head. It gives the mark it reached.
func (p *Projections) CatchUp(ctx context.Context, w pg.Workspace) (Mark, error) {
	return p.catchUp(ctx, w, time.Minute)
}

// catchUp is CatchUp for so long: it begins no page after that, and waits no longer for another's. A page
// that was begun is finished, so that whoever comes next goes on from there, however short the time.
func (p *Projections) catchUp(ctx context.Context, w pg.Workspace, long time.Duration) (Mark, error) {
	end := time.Now().Add(long)
	for {
		var done step
		err := p.db.In(ctx, w, func(tx *pg.Tx) (err error) {
			done, err = foldPage(ctx, tx, pageSize, math.MaxInt64, max(time.Until(end), time.Millisecond), tx.Commit)
			return err
		})
		if err != nil {
			return Mark{}, fmt.Errorf("catch up workspace %s: %w", w.ID, err)
		}
		if done.events < pageSize || time.Now().After(end) {
			return done.mark, nil
		}
	}
}

// step is what one page did.
type step struct {
	mark   Mark // after it
	events int
}

// foldPage locks the checkpoint, reads the next page of events up to a position, folds it into every read
// model and moves the checkpoint, in the caller's transaction: three round trips. wait is for the lock; finish is the transaction's
// Commit, or its Run when more is to follow. A crash anywhere leaves nothing half.
func foldPage(ctx context.Context, tx *pg.Tx, size int, upTo int64, wait time.Duration, finish func(context.Context, ...pg.Statement) error) (step, error) {
	var mark Mark
	var records []domain.Record
	err := tx.Run(ctx,
		pg.Exec(`select set_config('lock_timeout', $1, true)`, strconv.FormatInt(max(wait.Milliseconds(), 1), 10)),
		pg.Exec(`select position, roster from checkpoint for update`).Scan(&mark.Position, &mark.Roster),
		pg.Collect(&records, decodeRow, `select `+foldColumns+` from event
			where position > (select position from checkpoint) and position <= $2 order by position limit $1`, size, upTo),
		pg.Exec(selectHeads).Scan(&mark.Head, &mark.RosterHead),
	)
	if err != nil || len(records) == 0 {
		return step{mark: mark}, err
	}
	stores, err := foldIn(ctx, tx, records, &mark)
	if err != nil {
		return step{}, err
	}
	if err := finish(ctx, stores...); err != nil {
		return step{}, fmt.Errorf("store rows up to position %d: %w", mark.Position, err)
	}
	return step{mark: mark, events: len(records)}, nil
}

// foldIn folds a page of records into the rows that every read model has at mark, and moves mark behind it. It gives the
// statements that are left to run: those that store it.
func foldIn(ctx context.Context, tx *pg.Tx, records []domain.Record, mark *Mark) (stores []pg.Statement, err error) {
	folds := distribute(records)
	var loads []pg.Statement
	for _, f := range folds {
		loads = append(loads, f.load()...)
	}
	if loads != nil {
		if err := tx.Run(ctx, loads...); err != nil {
			return nil, fmt.Errorf("load rows: %w", err)
		}
	}
	for _, f := range folds {
		f.apply()
		left, err := f.store(ctx, tx)
		if err != nil {
			return nil, err
		}
		stores = append(stores, left...)
	}
	mark.pass(records)
	return append(stores, pg.Exec(`update checkpoint set position = $1, roster = $2`, mark.Position, mark.Roster)), nil
}

// pass moves a mark behind records that were folded.
func (m *Mark) pass(records []domain.Record) {
	m.Position = records[len(records)-1].Position
	for _, r := range records {
		if r.Stream == domain.RosterStream {
			m.Roster = r.Version
		}
	}
	m.Head, m.RosterHead = max(m.Head, m.Position), max(m.RosterHead, m.Roster)
}

// distribute gives every record to the read models that it changes.
func distribute(records []domain.Record) []fold {
	folds := make([]fold, len(models))
	for i, m := range models {
		folds[i] = m.fold()
		for j := range records {
			if id, ok := m.row(records[j]); ok {
				folds[i].add(id, &records[j])
			}
		}
	}
	return folds
}

// Decode turns stored records into the domain's.
func Decode(stored []eventstore.Record) ([]domain.Record, error) {
	records := make([]domain.Record, len(stored))
	for i, s := range stored {
		event, err := domain.Decode(s.Type, s.Data)
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", s.Position, err)
		}
		records[i] = domain.Record{Position: s.Position, Stream: s.Stream, Version: s.Version, At: s.At, Event: event}
		if s.Actor != nil {
			records[i].Actor = *s.Actor
		}
	}
	return records, nil
}
