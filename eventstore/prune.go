package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Overdue is up to where a log may be pruned.
type Overdue struct {
	Now      time.Time // by the database's clock
	Pruned   int64     // up to where it was before
	Position int64     // of the last record that may go: Pruned when none may
	At       time.Time // and its time
	Worth    bool      // there is more among them than what tells of earlier prunings
	Left     bool      // records of before are still to be deleted
}

// Events is how many records may go.
func (d Overdue) Events() int64 { return d.Position - d.Pruned }

// LookOverdue is the query for it. Records may go that are older than keep, with all before them: by their own times and the database's clock.
// None goes that the tree, the read models or the reactions do not have yet. pruning is the type of the event that tells of a pruning.
func LookOverdue(into *Overdue, keep time.Duration, pruning string) pg.Statement {
	return pg.Exec(`with due as (select head.pruned, greatest(head.pruned, least(tree.size, checkpoint.position, reaction.position, coalesce(
				(select position - 1 from event where position > head.pruned and at >= clock_timestamp() - make_interval(secs => $1) order by position limit 1), head.position))) as position
			from head, tree, checkpoint, reaction)
		select clock_timestamp(), pruned, position, coalesce((select at from event where event.position = due.position), 'epoch'),
			exists (select from event where event.position > due.pruned and event.position <= due.position and type <> $2), exists (select from event where event.position <= due.pruned)
		from due`, keep.Seconds(), pruning).Scan(&into.Now, &into.Pruned, &into.Position, &into.At, &into.Worth, &into.Left)
}

// MoveHorizon is what makes the records up to a position gone for everybody who reads, unless the horizon is not where Overdue found it: then it has
// no row. The baselines of those records are there. It takes the lock that appends take.
func MoveHorizon(d Overdue) pg.Statement {
	var moved bool
	return pg.Exec(`update head set pruned = $1, pruned_at = $2 where pruned = $3 and position >= $1 returning true`, d.Position, d.At, d.Pruned).Scan(&moved)
}

// StoreVersions stores the versions of streams, where the baselines of things do not say them: of those that have records behind one position,
// and up to another.
func StoreVersions(before, upTo int64) pg.Statement {
	return pg.Exec(`insert into baseline (model, id, stream, version, position, state)
		select '', md5(stream)::uuid, stream, max(version), max(position), '{}' from event where position > $1 and position <= $2 group by stream
			having max(version) > coalesce((select max(b.version) from baseline b where b.stream = event.stream and b.position <= $2), 0)
		on conflict (model, id, position) do update set version = excluded.version`, before, upTo)
}

// deleteEvents is how many records are deleted in one transaction.
const deleteEvents = 2_000

// gone are what is behind the horizon, and the SQL that deletes some of it: at most $1. The records go last: as long as one is left, whoever looks
// for what is overdue knows that there is something to go on with.
var gone = []struct {
	name, sql string
	args      []any
}{
	{"baselines", `delete from baseline where ctid = any(array(select b.ctid from baseline b where b.position <= ` + horizon + ` and exists (select from baseline later
		where later.model = b.model and later.id = b.id and later.position > b.position and later.position <= ` + horizon + `) limit $1))`, nil},
	{"keys", `delete from dedupe where key = any(array(select key from dedupe where at < now() - make_interval(secs => $2) order by at limit $1))`, []any{KeyLife.Seconds()}},
	{"answers", `update dedupe set answer = null where key = any(array(select key from dedupe where at < 'infinity' and last <= ` + horizon + ` and answer is not null limit $1))`, nil},
	{"records", `delete from event where position = any(array(select position from event where position <= ` + horizon + ` order by position limit $1))`, nil},
}

// DeletePruned deletes what is behind the horizon, a few rows at a time, until nothing is left there: baselines that later ones have
// replaced, keys that say nothing any more, answers, and records. Appends go on meanwhile, and have as much of the disk as this. Several may do it
// at once; broken off anywhere, the next call goes on. told is called after each transaction, with how many rows went: 0 when none of a kind
// is left. Its error ends it.
func (s *Store) DeletePruned(ctx context.Context, w pg.Workspace, told func(what string, rows int64) error) error {
	for _, what := range gone {
		for {
			var n int64
			begun := time.Now()
			err := s.db.InAsOwner(ctx, w, func(tx *pg.Tx) error {
				return tx.Commit(ctx, pg.Exec(`set local statement_timeout = '5min'`),
					pg.Exec(`with gone as (`+what.sql+` returning 1) select count(*) from gone`, append([]any{deleteEvents}, what.args...)...).Scan(&n)) //sqlcheck:allow one of those above
			})
			if err != nil {
				return fmt.Errorf("delete pruned %s: %w", what.name, err)
			}
			if err := told(what.name, n); err != nil {
				return err
			}
			if n == 0 {
				break
			}
			select {
			case <-time.After(time.Since(begun)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
