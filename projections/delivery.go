package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Cursor is the position of the deliveries to a receiver. Only the holder of the receiver's lease writes it.
type Cursor struct {
	Receiver uuid.UUID
	Holder   uuid.UUID
}

// Claim makes the caller, which has the lease, the holder of the cursor. The first call for a receiver makes the cursor.
func (c Cursor) Claim() pg.Statement {
	return pg.Exec(`insert into receiver_cursor (receiver_id, holder, position, epoch, starts)
		select id, $2, least(receiver.starts_after, head.position), head.epoch, receiver.starts from receiver, head where id = $1 and deleted_at is null
		on conflict (receiver_id) do update set holder = excluded.holder`, c.Receiver, c.Holder)
}

// follow moves the cursor in three cases:
//
//  1. After a replay was requested: to the requested position.
//  2. After the log went back (another epoch, or an end before the cursor): to the event that records it, because earlier events may differ
//     from those that the receiver has.
//  3. After the events behind the cursor were pruned: to the first event that is kept. The skipped events are counted.
const follow = `update receiver_cursor set position = greatest(n.position, n.pruned), skipped = skipped + greatest(n.pruned - n.position, 0),
		starts = n.starts, epoch = n.epoch, restored_at = case when n.back then clock_timestamp() else restored_at end
	from (select head.pruned, head.epoch, receiver.starts, went.back,
			case when receiver.starts <> c.starts then least(receiver.starts_after, head.position)
				when went.back then coalesce((select e.position - 1 from event e where e.stream = 'workspace-' || substring(current_schema() from 4)::uuid::text
					and e.type = 'workspace.restored' order by e.version desc limit 1), head.position)
				else c.position end as position
		from receiver_cursor c join receiver on receiver.id = c.receiver_id cross join head
		cross join lateral (select receiver.starts = c.starts and (c.epoch <> head.epoch or c.position > head.position) as back) went
		where c.receiver_id = $1 and c.holder = $2
			and (receiver.starts <> c.starts or c.epoch <> head.epoch or c.position > head.position or c.position < head.pruned)
		for update of c) n
	where receiver_id = $1 and holder = $2`

// Sent notes the events that were delivered since the last note, and ends the row of failures.
func (c Cursor) Sent(position int64, events int) pg.Statement {
	return pg.Exec(`update receiver_cursor set position = $3, delivered = delivered + $4, delivered_at = case when $4 > 0 then clock_timestamp() else delivered_at end,
			failures = case when $4 > 0 then 0 else failures end, failing_since = case when $4 > 0 then null else failing_since end
		where receiver_id = $1 and holder = $2`, c.Receiver, c.Holder, position, events)
}

// Failed notes a failure, and tells whether deliveries have failed for longer than domain.ReceiverPatience. Without a row, another process is
// the holder.
func (c Cursor) Failed(long *bool, says string, pause time.Duration, resumed time.Time) pg.Statement {
	return pg.Exec(`update receiver_cursor set failures = failures + 1, failing_since = greatest(coalesce(failing_since, clock_timestamp()), $5),
			failed_at = clock_timestamp(), error = $3, again_at = clock_timestamp() + make_interval(secs => $4)
		where receiver_id = $1 and holder = $2 returning failing_since <= clock_timestamp() - make_interval(secs => $6)`,
		c.Receiver, c.Holder, says, pause.Seconds(), resumed, domain.ReceiverPatience.Seconds()).Scan(long)
}

// ToDeliver is the next events for a receiver.
type ToDeliver struct {
	Held     bool // the caller is the holder
	Receiver domain.Receiver
	Position int64 // of the cursor
	Head     Head
	Records  []Record
	Now      time.Time // the database's time
}

// Head is where a log begins and ends.
type Head = eventstore.Head

// Active tells whether events are to be delivered to the receiver.
func (d ToDeliver) Active() bool {
	return d.Held && d.Receiver.Status == domain.Active && d.Receiver.DeletedAt == nil
}

// NextToDeliver runs the statements before, which note earlier deliveries, and gives the events behind a position, which should be that of the
// cursor: at most so many events and about so many bytes, but at least one event if one is near. All of it is one round trip.
func (p *Projections) NextToDeliver(ctx context.Context, w pg.Workspace, c Cursor, position int64, types []string, events, bytes int, before ...pg.Statement) (ToDeliver, error) {
	var next ToDeliver
	var receivers []domain.Receiver
	var at []struct {
		Position int64
		Now      time.Time
	}
	err := p.db.Do(ctx, w, append(before, pg.Exec(follow, c.Receiver, c.Holder),
		pg.Rows(&at, `select position, clock_timestamp() as now from receiver_cursor where receiver_id = $1 and holder = $2`, c.Receiver, c.Holder),
		Receivers.byID(&receivers, c.Receiver),
		eventstore.LookHead(&next.Head),
		eventstore.Next(&next.Records, position, types, events, bytes))...)
	if err != nil || len(at) == 0 || len(receivers) == 0 {
		return next, err
	}
	next.Held, next.Receiver, next.Position, next.Now = true, receivers[0], at[0].Position, at[0].Now
	return next, nil
}

// byID is the query for a row, without a check of access.
func (m *Model[T]) byID(into *[]T, id uuid.UUID) pg.Statement {
	return pg.Rows(into, m.selects, []uuid.UUID{id}) //sqlcheck:allow made once, of the names in our own struct
}
