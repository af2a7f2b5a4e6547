package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Cursor is where delivery to a receiver stands, for whoever delivers: it is written under the lease of whoever holds it, and no other.
type Cursor struct {
	Receiver uuid.UUID
	Holder   uuid.UUID
}

// Claim makes whoever has the lease the holder. The first time it also makes the cursor.
func (c Cursor) Claim() pg.Statement {
	return pg.Exec(`insert into receiver_cursor (receiver_id, holder, position, epoch, starts)
		select id, $2, least(receiver.starts_after, head.position), head.epoch, receiver.starts from receiver, head where id = $1 and deleted_at is null
		on conflict (receiver_id) do update set holder = excluded.holder`, c.Receiver, c.Holder)
}

// follow sets the cursor to where it has to go on, when that is not where it stands:
//
//  1. The receiver began once more (replay): there.
//  2. The log went back (another epoch, or an end before the cursor): at the event that tells of it, as what was before may not be what the
//     receiver has.
//  3. What is behind the cursor was pruned: at the first event that is left. How many are skipped is counted.
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

// Sent notes what was delivered since the last note, and that nothing failed since.
func (c Cursor) Sent(position int64, events int) pg.Statement {
	return pg.Exec(`update receiver_cursor set position = $3, delivered = delivered + $4, delivered_at = case when $4 > 0 then clock_timestamp() else delivered_at end,
			failures = case when $4 > 0 then 0 else failures end, failing_since = case when $4 > 0 then null else failing_since end
		where receiver_id = $1 and holder = $2`, c.Receiver, c.Holder, position, events)
}

// Failed notes a failure, and answers whether there were failures alone for longer than a receiver is tried. Without a row, the holder is
// another one.
func (c Cursor) Failed(long *bool, says string, pause time.Duration, resumed time.Time) pg.Statement {
	return pg.Exec(`update receiver_cursor set failures = failures + 1, failing_since = greatest(coalesce(failing_since, clock_timestamp()), $5),
			failed_at = clock_timestamp(), error = $3, again_at = clock_timestamp() + make_interval(secs => $4)
		where receiver_id = $1 and holder = $2 returning failing_since <= clock_timestamp() - make_interval(secs => $6)`,
		c.Receiver, c.Holder, says, pause.Seconds(), resumed, domain.ReceiverPatience.Seconds()).Scan(long)
}

// ToDeliver is what is to be delivered next.
type ToDeliver struct {
	Held     bool // the holder is whoever asks
	Receiver domain.Receiver
	Position int64 // of the cursor
	Head     Head
	Records  []Record
	Now      time.Time // the database's
}

// Head is where a log begins and ends.
type Head = eventstore.Head

// Active tells whether anything is to be delivered to the receiver at all.
func (d ToDeliver) Active() bool {
	return d.Held && d.Receiver.Status == domain.Active && d.Receiver.DeletedAt == nil
}

// NextToDeliver runs what notes the past, and gives what comes behind a position, which should be that of the cursor: at most so many
// events, and about so many bytes, one at least if there is one near. It is one round trip.
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

// byID is the query for a row, whoever asks.
func (m *Model[T]) byID(into *[]T, id uuid.UUID) pg.Statement {
	return pg.Rows(into, m.selects, []uuid.UUID{id}) //sqlcheck:allow made once, of the names in our own struct
}
