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

// Moment is a moment of a log: after the record at a position, and before the next record.
type Moment struct {
	Position int64
	At       time.Time       // the time of that record
	log      eventstore.Head // the log in which the moment was found
}

// MomentAt finds the moment after a position. Positions before the log's horizon, and positions that do not exist yet, are refused.
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

// MomentOf finds the moment of an instant: after all records up to that instant.
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

// moment gives the moment after the last record that a query finds, or that at the horizon. now is the database's time.
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

// FillState makes a schema, and derives in it the read models as they were at a moment:
//
//  1. It makes the tables, stores the baselines of the horizon, and folds the records behind it up to the moment. Records that are appended
//     meanwhile are behind the moment.
//  2. It checks that the horizon and the epoch of the log are those of the moment. Records are deleted only after the horizon has moved. So an
//     unmoved horizon proves that no record was missing, and a moved one is an error.
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
