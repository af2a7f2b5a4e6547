package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// A baseline is what the events of a thing that were pruned have made of it: a stored fold, as a row is, from which everything that reads
// the log goes on.

// stateOf reads the state in a baseline. What a newer fold has besides is empty in it.
func (m *Model[T]) stateOf(b eventstore.Baseline) (state T, err error) {
	if err := json.Unmarshal(b.State, &state); err != nil {
		return state, fmt.Errorf("baseline of %s %s: %w", m.name, b.ID, err)
	}
	v := reflect.ValueOf(&state).Elem()
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.Kind() == reflect.Slice && field.IsNil():
			field.Set(reflect.MakeSlice(field.Type(), 0, 0)) // as folds have it
		case field.Kind() == reflect.Map && field.IsNil():
			field.Set(reflect.MakeMap(field.Type()))
		}
	}
	return state, nil
}

func (m *Model[T]) streams() string { return m.stream(uuid.Nil) }

func (m *Model[T]) lay(ctx context.Context, tx *pg.Tx, baselines []eventstore.Baseline) error {
	states, ids := make([]T, len(baselines)), make([]uuid.UUID, len(baselines))
	for i, b := range baselines {
		var err error
		if states[i], err = m.stateOf(b); err != nil {
			return err
		}
		ids[i] = b.ID
	}
	if err := tx.Copy(ctx, m.name, m.columns, len(states), func(i int) ([]any, error) { return values(&states[i]), nil }); err != nil {
		return err
	}
	if m.sums == nil {
		return nil
	}
	return tx.Run(ctx, m.sums.with(ids)...)
}

// baselinePage is how many baselines are read, or written, at once.
const baselinePage = 2_000

// layBaseline puts into the shadow what the events up to a position have made, from where the log that is left goes on.
func (p *Projections) layBaseline(ctx context.Context, s pg.Shadow, upTo int64, filled *Mark) error {
	if upTo == 0 {
		return nil
	}
	filled.Position = upTo
	for _, m := range models {
		for after := uuid.Nil; ; {
			var page []eventstore.Baseline
			if err := p.db.Read(ctx, s.Workspace, eventstore.BaselinesAt(&page, m.table(), upTo, after, baselinePage)); err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].ID
			err := p.db.InShadow(ctx, s, func(tx *pg.Tx) error {
				if err := tx.Run(ctx, pg.Exec(`set local synchronous_commit = off`)); err != nil {
					return err
				}
				return m.lay(ctx, tx, page)
			})
			if err != nil {
				return fmt.Errorf("lay the baseline of %s: %w", m.table(), err)
			}
		}
	}
	return nil
}

// storeBaseline stores, as baselines, the rows of a shadow that has all events up to a position: those that changed behind another one.
// They do not count before the horizon is there.
func (p *Projections) storeBaseline(ctx context.Context, s pg.Shadow, before, upTo int64) error {
	for _, m := range models {
		sql := fmt.Sprintf(`insert into baseline (model, id, stream, version, position, state)
			select $1, t.id, replace($2, '%[1]s', t.id::text), t.version, t.position, row_to_json(t)
			from (select %[2]s from %[3]s.%[4]s where id > $3 and position > $4 order by id limit $5) as t
			on conflict (model, id, position) do update set stream = excluded.stream, version = excluded.version, state = excluded.state returning id`,
			uuid.Nil, m.columnList(), s.Schema(), m.table())
		for after := uuid.Nil; ; {
			var stored []uuid.UUID
			err := p.db.InAsOwner(ctx, s.Workspace, func(tx *pg.Tx) error {
				//sqlcheck:allow names of our own tables, and of the workspace's id
				return tx.Run(ctx, pg.Column(&stored, sql, m.table(), m.streams(), after, before, baselinePage))
			})
			if err != nil {
				return fmt.Errorf("store the baseline of %s: %w", m.table(), err)
			}
			for _, id := range stored {
				if strings.Compare(id.String(), after.String()) > 0 {
					after = id
				}
			}
			if len(stored) < baselinePage {
				break
			}
		}
	}
	return p.db.InAsOwner(ctx, s.Workspace, func(tx *pg.Tx) error {
		return tx.Run(ctx, pg.Exec(`set local statement_timeout = 0`), eventstore.StoreVersions(before, upTo))
	})
}
