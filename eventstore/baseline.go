package eventstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Baseline is the state that a thing had after its last pruned event.
type Baseline struct {
	Model    string          `json:"model"` // empty for a stream without a read model
	ID       uuid.UUID       `json:"id"`
	Stream   string          `json:"stream"`
	Version  int             `json:"version"`  // of the stream
	Position int64           `json:"position"` // of the last pruned event
	State    json.RawMessage `json:"state"`
}

const (
	selectBaselines = `select distinct on (id) model, id, stream, version, position, convert_to(state::text, 'UTF8') as state from baseline where model = $1 and position <= `
	lastBaseline    = ` order by id, position desc`
)

// BaselinesOf is the query for the baselines of some things. A thing without pruned events has no row.
func BaselinesOf(into *[]Baseline, model string, ids []uuid.UUID) pg.Statement {
	return pg.Rows(into, selectBaselines+horizon+` and id = any($2)`+lastBaseline, model, ids)
}

// Reading gives a Run that reads a workspace. Each call has a snapshot of its own.
func Reading(db *pg.DB, w pg.Workspace) Run {
	return func(ctx context.Context, statements ...pg.Statement) error { return db.Read(ctx, w, statements...) }
}

// baselinePage is how many baselines are read at once.
const baselinePage = 2_000

// BaselinesAt gives fn the baselines that a model has once the records up to upTo are pruned: sorted by id, a page at a time.
func BaselinesAt(ctx context.Context, run Run, model string, upTo int64, fn func([]Baseline) error) error {
	for from := uuid.Nil; ; {
		var page []Baseline
		err := run(ctx, pg.Rows(&page, selectBaselines+`$2 and id >= $3`+lastBaseline+` limit $4`, model, upTo, from, baselinePage))
		if err != nil || len(page) == 0 {
			return err
		}
		if err := fn(page); err != nil {
			return err
		}
		from = pg.NextID(page[len(page)-1].ID)
	}
}

// EveryBaseline is BaselinesAt for every model, in the order of the models' names.
func EveryBaseline(ctx context.Context, run Run, upTo int64, fn func([]Baseline) error) error {
	var models []string
	if err := run(ctx, pg.Column(&models, `select distinct model from baseline where position <= $1`, upTo)); err != nil {
		return err
	}
	slices.Sort(models)
	for _, model := range models {
		if err := BaselinesAt(ctx, run, model, upTo, fn); err != nil {
			return err
		}
	}
	return nil
}

// WriteBaselines writes a line of JSON for each baseline of EveryBaseline, in that order.
func WriteBaselines(ctx context.Context, run Run, upTo int64, to io.Writer) (lines int, err error) {
	encode := json.NewEncoder(to)
	encode.SetEscapeHTML(false)
	err = EveryBaseline(ctx, run, upTo, func(page []Baseline) error {
		for _, b := range page {
			if err := encode.Encode(b); err != nil {
				return err
			}
		}
		lines += len(page)
		return nil
	})
	return lines, err
}

// HashBaselines gives the SHA-256, in hex, of the lines of WriteBaselines.
func HashBaselines(ctx context.Context, run Run, upTo int64) (string, error) {
	sum := sha256.New()
	_, err := WriteBaselines(ctx, run, upTo, sum)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// StoreBaselines stores the baselines of a workspace that has none yet, in a transaction of the owner.
func StoreBaselines(page []Baseline) pg.Statement {
	var models, streams, states []string
	var ids []uuid.UUID
	var versions []int
	var positions []int64
	for _, b := range page {
		models, streams, states = append(models, b.Model), append(streams, b.Stream), append(states, string(b.State))
		ids, versions, positions = append(ids, b.ID), append(versions, b.Version), append(positions, b.Position)
	}
	return pg.Exec(`insert into baseline (model, id, stream, version, position, state) select model, id, stream, version, position, state::json
		from unnest($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[], $6::text[]) as t (model, id, stream, version, position, state)`,
		models, ids, streams, versions, positions, states)
}
