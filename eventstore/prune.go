package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Overdue says up to which record a log may be pruned.
type Overdue struct {
	Now      time.Time // by the database's clock
	Pruned   int64     // the present horizon
	Position int64     // the last record that may be pruned: Pruned when none may
	At       time.Time // the time of that record
	Worth    bool      // the records are not only those about earlier prunings
	Left     bool      // records up to the present horizon are not deleted yet
}

// Events is how many records may be pruned.
func (d Overdue) Events() int64 { return d.Position - d.Pruned }

// LookOverdue is the query for Overdue. A record may be pruned when it and all before it are older than keep, by the database's clock, and
// when the tree, the read models and the reactions have it. pruning is the type of the event that records a pruning.
func LookOverdue(into *Overdue, keep time.Duration, pruning string) pg.Statement {
	return pg.Exec(`with due as (select head.pruned, greatest(head.pruned, least(tree.size, checkpoint.position, reaction.position, coalesce(
				(select position - 1 from event where position > head.pruned and at >= clock_timestamp() - make_interval(secs => $1) order by position limit 1), head.position))) as position
			from head, tree, checkpoint, reaction)
		select clock_timestamp(), pruned, position, coalesce((select at from event where event.position = due.position), 'epoch'),
			exists (select from event where event.position > due.pruned and event.position <= due.position and type <> $2), exists (select from event where event.position <= due.pruned)
		from due`, keep.Seconds(), pruning).Scan(&into.Now, &into.Pruned, &into.Position, &into.At, &into.Worth, &into.Left)
}

// MoveHorizon hides the records up to d.Position from all readers. The statement has no row when the horizon is no longer at d.Pruned. The
// caller has stored the baselines of those records. The statement takes the lock that appends take.
func MoveHorizon(d Overdue) pg.Statement {
	var moved bool
	return pg.Exec(`update head set pruned = $1, pruned_at = $2 where pruned = $3 and position >= $1 returning true`, d.Position, d.At, d.Pruned).Scan(&moved)
}

// ForgetBaselines deletes the baselines behind a position, which do not count yet.
func ForgetBaselines(behind int64) pg.Statement {
	return pg.Exec(`delete from baseline where position > $1`, behind)
}

// StoreVersions stores the versions of the streams with records behind one position and up to another, unless a thing's baseline has the
// version already.
func StoreVersions(before, upTo int64) pg.Statement {
	return pg.Exec(`insert into baseline (model, id, stream, version, position, state)
		select '', md5(stream)::uuid, stream, max(version), max(position), '{}' from event where position > $1 and position <= $2 group by stream
			having max(version) > coalesce((select max(b.version) from baseline b where b.stream = event.stream and b.position <= $2), 0)
		on conflict (model, id, position) do update set version = excluded.version`, before, upTo)
}

// deleteEvents is how many records are deleted in one transaction.
const deleteEvents = 2_000

// gone are the kinds of rows before the horizon, each with SQL that deletes at most $1 of them. The records are deleted last: as long as a
// record is left, LookOverdue finds that the deletion is not finished.
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

// DeletePruned deletes all rows before the horizon, a few at a time: baselines that later ones have replaced, expired keys, answers, and
// records. Appends go on meanwhile and get their share of the disk. Several calls may run at once, and a call goes on where an interrupted
// one stopped. told is called after each transaction with the number of deleted rows, 0 when none of a kind is left. An error of told ends
// the deletion.
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
