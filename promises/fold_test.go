package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Whatever happened, in whatever order, however it is cut into pages, and wherever it was pruned: the rows are what Apply alone makes of the
// log. So is what comes of a row that is read and of the records behind it: what commands decide on; and what comes of the baselines and of
// the records that are left.
func TestRowsAreFolds(t *testing.T) {
	t.Parallel()
	everyNounBrought(t)
	p := newProcesses(t, 1, false)[0]
	// Provisioning is most of the cost, so the histories of all runs go on in three workspaces.
	type place struct {
		*client
		things map[string][]uuid.UUID
		pruned []eventstore.Record
	}
	var places []*place
	for range 3 {
		ada := p.signUp(t)
		places = append(places, &place{client: ada, things: map[string][]uuid.UUID{"workspace": {ada.workspace.ID}, "member": {ada.id}}})
	}
	rapid.Check(t, func(r *rapid.T) {
		at := rapid.SampledFrom(places).Draw(r, "workspace")
		for range rapid.IntRange(1, 4).Draw(r, "pages") {
			w := &world{T: r, things: at.things}
			for range rapid.IntRange(1, 12).Draw(r, "events of a page") {
				w.happen(rapid.SampledFrom(domain.Types()).Draw(r, "type"))
			}
			for _, write := range w.writes {
				if _, err := p.store.Append(t.Context(), at.workspace, eventstore.Append{Actor: at.id, Writes: []eventstore.Write{write}}); err != nil {
					r.Fatalf("%s: %v", write.Events[0].Type, err)
				}
			}
			if _, err := p.projections.CatchUp(t.Context(), at.workspace); err != nil {
				r.Fatal(err)
			}
		}
		log := at.log(t)
		if rapid.IntRange(0, 9).Draw(r, "is pruned") == 0 {
			cut := rapid.IntRange(1, len(log)).Draw(r, "records that are pruned")
			at.pruneUpTo(r, log[cut-1])
			at.pruned = append(at.pruned, log[:cut]...)
		}
		at.wantFolds(r, at.pruned)
	})
	for _, at := range places {
		at.noDrift(t)
		log := at.log(t)
		at.pruneUpTo(t, log[len(log)-1])
		at.noDrift(t)
	}
}

// pruneUpTo prunes the log up to a record, as if a plan said so.
func (c *client) pruneUpTo(t tester, last eventstore.Record) {
	t.Helper()
	ctx := context.Background()
	due := eventstore.Overdue{Position: last.Position, At: last.At}
	if err := c.db.Read(ctx, c.workspace, pg.Exec(`select pruned from head`).Scan(&due.Pruned)); err != nil {
		t.Fatal(err)
	}
	said := domain.LogPruned{UpTo: last.Position, At: last.At}
	err := c.projections.Prune(ctx, c.workspace, due, nil, func(baselines string) error { said.Baselines = baselines; return nil }, func(tx *pg.Tx) error {
		if err := tx.Run(ctx, eventstore.MoveHorizon(due)); err != nil {
			return err
		}
		_, err := c.store.AppendIn(ctx, tx.Run, c.workspace, eventstore.Append{Writes: []eventstore.Write{
			{Stream: domain.LogStream, Expected: eventstore.Any, Events: []eventstore.Event{{Type: domain.TypeOf(said), Data: must(json.Marshal(said))}}}}})
		return err
	})
	if err == nil {
		err = c.store.DeletePruned(ctx, c.workspace, func(string, int64) error { return nil })
	}
	if err == nil {
		_, err = c.projections.CatchUp(ctx, c.workspace)
	}
	if err != nil {
		t.Fatalf("prune up to %d: %v", last.Position, err)
	}
}

// wantFolds compares the rows of every read model with what Apply alone makes of the log, with the records that were pruned of it.
func (c *client) wantFolds(t tester, pruned []eventstore.Record) {
	t.Helper()
	wantFoldsOf(t, append(slices.Clip(pruned), c.log(t)...), func(query ...pg.Statement) error { return c.db.Read(context.Background(), c.workspace, query...) })
}

// wantFoldsOf compares rows, wherever they are, with what Apply alone makes of records, but for columns that Postgres makes of others.
func wantFoldsOf(t tester, records []eventstore.Record, read func(query ...pg.Statement) error) {
	t.Helper()
	for table, states := range must(projections.Folded(must(projections.Decode(records)))) {
		var wrong []string
		if err := read(pg.Exec(fmt.Sprintf(`select coalesce(json_agg(id order by id), '[]')
			from (select coalesce(array_agg(attname::text), '{}') as made from pg_attribute where attrelid = '%[1]s'::regclass and attgenerated <> '') of_columns,
			json_populate_recordset(null::%[1]s, $1::text::json) folded
			full join %[1]s stored using (id) where to_jsonb(folded) - made is distinct from to_jsonb(stored) - made`, table), string(states)).Scan(&wrong)); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		if len(wrong) > 0 {
			t.Fatalf("%s: the rows %v are not what the log makes of them", table, wrong)
		}
	}
}
