package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// A baseline is the state that a thing had after its last pruned event. Like a row it is a stored fold; every reader of the log begins with it.

// stateOf reads the state in a baseline. Fields that only a newer fold has are empty.
func (m *Model[T]) stateOf(b eventstore.Baseline) (state T, err error) {
	if err := json.Unmarshal(b.State, &state); err != nil {
		return state, fmt.Errorf("baseline of %s %s: %w", m.name, b.ID, err)
	}
	v := reflect.ValueOf(&state).Elem()
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.Kind() == reflect.Slice && field.IsNil():
			field.Set(reflect.MakeSlice(field.Type(), 0, 0)) // folds have empty lists and no nil ones
		case field.Kind() == reflect.Map && field.IsNil():
			field.Set(reflect.MakeMap(field.Type()))
		}
	}
	return state, nil
}

func (m *Model[T]) streams() string { return m.stream(uuid.Nil) }

func (m *Model[T]) statesOf(baselines []eventstore.Baseline) ([]*T, []uuid.UUID, error) {
	states, ids := make([]*T, len(baselines)), make([]uuid.UUID, len(baselines))
	for i, b := range baselines {
		state, err := m.stateOf(b)
		if err != nil {
			return nil, nil, err
		}
		states[i], ids[i] = &state, b.ID
	}
	return states, ids, nil
}

func (m *Model[T]) lay(ctx context.Context, tx *pg.Tx, baselines []eventstore.Baseline) error {
	states, ids, err := m.statesOf(baselines)
	if err != nil {
		return err
	}
	if err := tx.Copy(ctx, m.name, m.columns, len(states), func(i int) ([]any, error) { return values(states[i]), nil }); err != nil {
		return err
	}
	if m.sums == nil {
		return nil
	}
	return tx.Run(ctx, m.sums.with(ids)...)
}

// layBaseline stores the baselines at a position in the shadow, from which the rest of the log is folded.
func (p *Projections) layBaseline(ctx context.Context, s pg.Shadow, upTo int64, filled *Mark) error {
	if upTo == 0 {
		return nil
	}
	filled.Position = upTo
	for _, m := range models {
		err := eventstore.BaselinesAt(ctx, eventstore.Reading(p.db, s.Workspace), m.table(), upTo, func(page []eventstore.Baseline) error {
			return p.db.InShadow(ctx, s, func(tx *pg.Tx) error {
				if err := tx.Run(ctx, pg.Exec(`set local synchronous_commit = off`)); err != nil {
					return err
				}
				return m.lay(ctx, tx, page)
			})
		})
		if err != nil {
			return fmt.Errorf("lay the baseline of %s: %w", m.table(), err)
		}
	}
	return nil
}

// rows gives the statements that store rows from baselines in an empty table.
func (m *Model[T]) rows(baselines []eventstore.Baseline) ([]pg.Statement, error) {
	states, ids, err := m.statesOf(baselines)
	if err != nil {
		return nil, err
	}
	rows, err := (&page[T]{model: m}).upsert(states)
	return append(rows, m.sums.with(ids)...), err
}

// LayBaselines makes the first rows of a workspace whose log was loaded from a horizon on: the rows of its baselines, from which the catch-up
// goes on. run is a transaction of the owner, before the first fold.
func (p *Projections) LayBaselines(ctx context.Context, run eventstore.Run, upTo int64) error {
	for _, m := range models {
		err := eventstore.BaselinesAt(ctx, run, m.table(), upTo, func(page []eventstore.Baseline) error {
			rows, err := m.rows(page)
			if err != nil {
				return err
			}
			return run(ctx, rows...)
		})
		if err != nil {
			return fmt.Errorf("lay the baseline of %s: %w", m.table(), err)
		}
	}
	return run(ctx, pg.Exec(`update checkpoint set position = $1, roster = coalesce((select max(version) from baseline where stream = $2), 0), shape = $3, oldest = $3`,
		upTo, domain.RosterStream, p.shape))
}

// baselinePage is how many baselines are written at once.
const baselinePage = 2_000

// storeBaseline stores the rows of a shadow at position upTo as baselines, as far as they have changed behind position before. The baselines
// count only once the horizon is at upTo.
func (p *Projections) storeBaseline(ctx context.Context, s pg.Shadow, before, upTo int64) error {
	for _, m := range models {
		sql := fmt.Sprintf(`insert into baseline (model, id, stream, version, position, state)
			select $1, t.id, replace($2, '%[1]s', t.id::text), t.version, t.position, row_to_json(t)
			from (select %[2]s from %[3]s.%[4]s where id >= $3 and position > $4 order by id limit $5) as t
			on conflict (model, id, position) do update set stream = excluded.stream, version = excluded.version, state = excluded.state returning id`,
			uuid.Nil, m.columnList(), s.Schema(), m.table())
		for from := uuid.Nil; ; {
			var stored []uuid.UUID
			err := p.db.InAsOwner(ctx, s.Workspace, func(tx *pg.Tx) error {
				//sqlcheck:allow names of our own tables, and of the workspace's id
				return tx.Run(ctx, pg.Column(&stored, sql, m.table(), m.streams(), from, before, baselinePage))
			})
			if err != nil {
				return fmt.Errorf("store the baseline of %s: %w", m.table(), err)
			}
			if len(stored) < baselinePage {
				break
			}
			from = pg.NextID(slices.MaxFunc(stored, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }))
		}
	}
	return p.db.InAsOwner(ctx, s.Workspace, func(tx *pg.Tx) error {
		return tx.Run(ctx, pg.Exec(`set local statement_timeout = 0`), eventstore.StoreVersions(before, upTo))
	})
}
