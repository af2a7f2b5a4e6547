package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Receivers is the read model of the receivers.
var Receivers = newNoun(
	newModel("receiver", domain.ReceiverStream, ofKind("receiver"), (*domain.Receiver).Apply, func(r domain.Receiver) uuid.UUID { return r.ID }),
	Sight{Read: domain.ReadReceiver, Own: `receiver.created_by = $2`, Gone: `receiver.deleted_at`},
	Lists{Sorts: []Sorting{{Field: "created_at"}, {Field: "name", By: byName}}})

// Delivery is the progress of deliveries to a receiver.
type Delivery struct {
	ReceiverID uuid.UUID
	Position   int64 // every event up to here was delivered, or is of a type that the receiver does not take
	Head       int64 // the last position of the log
	Delivered  int64 // the number of delivered events
	LagSeconds float64

	DeliveredAt, FailingSince, FailedAt, AgainAt, RestoredAt *time.Time

	Failures int
	Error    string
	Skipped  int64
}

// Deliveries answers with the progress of deliveries to receivers. Before the first delivery the position is that at which the receiver starts.
func (p *Projections) Deliveries(ctx context.Context, w pg.Workspace, ids []uuid.UUID) (map[uuid.UUID]Delivery, error) {
	var rows []Delivery
	if err := p.db.Read(ctx, w, pg.Rows(&rows, `select r.id as receiver_id, at.position, head.position as head, coalesce(c.delivered, 0) as delivered,
			coalesce(extract(epoch from now() - (select e.at from event e where e.position > at.position order by e.position limit 1)), 0)::float8 as lag_seconds,
			c.delivered_at, c.failing_since, c.failed_at, case when c.failures > 0 then c.again_at end as again_at, c.restored_at,
			coalesce(c.failures, 0) as failures, coalesce(c.error, '') as error, coalesce(c.skipped, 0) as skipped
		from receiver r cross join head left join receiver_cursor c on c.receiver_id = r.id
		cross join lateral (select least(case when c.starts = r.starts then c.position else r.starts_after end, head.position) as position) at
		where r.id = any($1)`, ids)); err != nil {
		return nil, err
	}
	all := map[uuid.UUID]Delivery{}
	for _, row := range rows {
		all[row.ReceiverID] = row
	}
	return all, nil
}

// CountReceivers is the query for the number of receivers.
func CountReceivers(into *int) pg.Statement {
	return pg.Exec(`select count(*) from receiver where deleted_at is null`).Scan(into)
}

// ActiveReceivers is the query for the receivers that are active.
func ActiveReceivers(into *[]uuid.UUID) pg.Statement {
	return pg.Column(into, `select id from receiver where status = 'active' and deleted_at is null`)
}
