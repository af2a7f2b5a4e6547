package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Moment is one of a log: behind the record at a position, and before the next one.
type Moment struct {
	Position int64
	At       time.Time       // of the record there
	log      eventstore.Head // in which it was found
}

// MomentAt finds the moment behind a position. It is none before the log's horizon, and none that is still to come.
func (p *Projections) MomentAt(ctx context.Context, w pg.Workspace, position int64) (Moment, error) {
	m, _, err := p.moment(ctx, w, func(last *[]eventstore.Stop) pg.Statement { return eventstore.UpTo(last, position) })
	switch {
	case err != nil:
		return m, err
	case position < m.log.Pruned:
		return m, pruned(m.log.Wants(position))
	case position > m.log.Position:
		return m, fmt.Errorf("position %d is still to come: the log ends at %d", position, m.log.Position)
	}
	return m, m.begun()
}

// MomentOf finds the moment of an instant: behind all records of then, and of before.
func (p *Projections) MomentOf(ctx context.Context, w pg.Workspace, at time.Time) (Moment, error) {
	m, now, err := p.moment(ctx, w, func(last *[]eventstore.Stop) pg.Statement { return eventstore.Until(last, at) })
	if err == nil {
		err = sinceHorizon(m.log, &at)
	}
	switch {
	case err != nil:
		return m, err
	case at.After(now):
		return m, fmt.Errorf("%s is still to come", at.UTC().Format(time.RFC3339Nano))
	}
	return m, m.begun()
}

// moment is the one behind the last record that a query finds, or at the horizon; now is by the database's clock.
func (p *Projections) moment(ctx context.Context, w pg.Workspace, find func(*[]eventstore.Stop) pg.Statement) (m Moment, now time.Time, err error) {
	var last []eventstore.Stop
	err = p.db.Read(ctx, w, eventstore.LookHead(&m.log), pg.Exec(`select clock_timestamp()`).Scan(&now), find(&last))
	if len(last) > 0 {
		m.Position, m.At = last[0].Position, last[0].At
	} else if m.log.PrunedAt != nil {
		m.Position, m.At = m.log.Pruned, *m.log.PrunedAt
	}
	return m, now, err
}

func (m Moment) begun() error {
	if m.Position == 0 {
		return errors.New("there was nothing yet: the log begins later")
	}
	return nil
}

// FillState makes the schema of a state, and derives in it what the read models were at a moment:
//
//  1. It makes the tables, lays the baselines of the horizon, and folds the records behind it as the catch-up does, up to the moment. What is
//     appended meanwhile is behind that.
//  2. It looks whether the log is the one in which the moment was found. Records are deleted only once the horizon has moved, so when it
//     has not, none was missing; and when it has, what was read may lack some.
func (p *Projections) FillState(ctx context.Context, s pg.Shadow, m Moment, progress Progress) error {
	if err := p.makeTables(ctx, s); err != nil {
		return fmt.Errorf("make the tables of a state: %w", err)
	}
	var filled Mark
	failed := p.layBaseline(ctx, s, m.log.Pruned, &filled)
	if failed == nil {
		failed = p.fillUpTo(ctx, s, m.Position, &filled, progress)
	}
	var log eventstore.Head
	if err := p.db.Read(ctx, s.Workspace, eventstore.LookHead(&log)); err != nil {
		return errors.Join(failed, err)
	}
	switch {
	case log.Epoch != m.log.Epoch:
		return eventstore.ErrOtherEpoch
	case log.Pruned > m.Position:
		return domain.Pruned(log.Pruned, *log.PrunedAt)
	case log.Pruned != m.log.Pruned:
		return errors.New("the log was pruned meanwhile: ask again")
	case failed != nil:
		return fmt.Errorf("fill the tables of a state: %w", failed)
	}
	return p.indexShadow(ctx, s)
}
