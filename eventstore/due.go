package eventstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Due says that events may wait for a receiver. The holder of a Due has the lease, so no other process delivers to the receiver.
type Due struct {
	Workspace pg.Workspace
	Receiver  uuid.UUID
	Lease     uuid.UUID
	Failures  int // in a row, over all processes
}

// Room says how many more deliveries a process accepts at the moment.
type Room struct {
	Any     bool        // one more delivery
	Failing bool        // one more to a receiver whose last delivery failed
	Full    []uuid.UUID // workspaces that have reached their limit of deliveries
	Failed  []uuid.UUID // workspaces that have reached their limit of failing deliveries
}

// Dues finds the receivers that are due and has events delivered to them. A row of kluis.delivery stands for a receiver that is due:
//
//  1. The handler of a signal makes the rows of the workspace's receivers, or notes in an existing row that more events came (Push).
//  2. A look leases a row in a transaction and commits. No connection is held during the delivery, because a receiver may answer slowly.
//  3. The delivery begins after that commit (Held). Before the commit the lease cannot be seen, so giving it back would do nothing.
//  4. The delivery renews the lease (Renew). Another process may take over a lease that has run out.
//  5. After the last event the row is deleted, unless more events came since the lease or since the last call of Done (Done).
//  6. After a failure the row stays without a lease, and no process takes it for a while (PutBack).
//
// When the process dies between any two steps, the row remains and the lease runs out.
type Dues struct {
	turns
	lease time.Duration
	idle  time.Duration // how long Postgres keeps the transaction of a look without a sign of life
}

// dueEvery is how often a process looks for due receivers and for leases that have run out.
const dueEvery = 5 * time.Second

// DueLease is the length of a lease: longer than the time between two calls of Renew.
const DueLease = 30 * time.Second

// NewDues makes a Dues; Run runs it.
func NewDues(db *pg.DB, log *slog.Logger) *Dues {
	never := func() <-chan struct{} { return nil }
	return &Dues{newTurns(db, log, "deliveries", never, dueEvery, 1), DueLease, 30 * time.Second}
}

// Run calls take for each receiver that is due, while there is room, until ctx ends. Run is called once. take must return before the
// delivery is done. After the room has grown, the caller calls Wake.
func (d *Dues) Run(ctx context.Context, room func() Room, take func(Due)) error {
	table := &dueTable{room: room, lease: d.lease, found: d.pass}
	return d.run(ctx, table, func(db *sql.DB) looks { return looks{db, d.idle} }, func(m *message.Message) error {
		var due Due
		err := json.Unmarshal(m.Payload, &due)
		if err == nil {
			take(due)
		}
		return err
	})
}

// Wake makes Run look soon.
func (d *Dues) Wake() { d.pass() }

// Push says that a workspace may have events for receivers.
func (d *Dues) Push(ctx context.Context, w pg.Workspace, receivers []uuid.UUID) error {
	_, err := d.db.Pool().Exec(ctx, `insert into kluis.delivery (receiver_id, workspace_id) select id, $1 from unnest($2::uuid[]) as id
		on conflict (receiver_id) do update set again = true where not delivery.again`, w.ID, receivers)
	if err != nil {
		return fmt.Errorf("note that receivers of workspace %s are due: %w", w.ID, err)
	}
	d.pass()
	return nil
}

// Held waits for the end of the transaction that leased a receiver. It is false when that transaction did not commit.
func (d *Dues) Held(ctx context.Context, due Due) (held bool, err error) {
	err = d.db.Pool().QueryRow(ctx, `select coalesce(lease = $2, false) from kluis.delivery where receiver_id = $1 for share`, due.Receiver, due.Lease).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return held, err
}

// Renew extends a lease. It is false when the lease is lost.
func (d *Dues) Renew(ctx context.Context, due Due) (kept bool, err error) {
	tag, err := d.db.Pool().Exec(ctx, `update kluis.delivery set leased_until = clock_timestamp() + make_interval(secs => $3) where receiver_id = $1 and lease = $2`,
		due.Receiver, due.Lease, d.lease.Seconds())
	return tag.RowsAffected() > 0, err
}

// Done gives a lease back, unless more events came since the lease was taken or since the last call of Done. When Done is false, the caller
// reads the log once more.
func (d *Dues) Done(ctx context.Context, due Due) (done bool, err error) {
	tag, err := d.db.Pool().Exec(ctx, `delete from kluis.delivery where receiver_id = $1 and lease = $2 and not again`, due.Receiver, due.Lease)
	if err != nil || tag.RowsAffected() > 0 {
		return err == nil, err
	}
	tag, err = d.db.Pool().Exec(ctx, `update kluis.delivery set again = false where receiver_id = $1 and lease = $2`, due.Receiver, due.Lease)
	return tag.RowsAffected() == 0, err // the lease is lost
}

// PutBack gives a lease back after a failure. No process takes the receiver during the pause. failures counts the failures in a row.
func (d *Dues) PutBack(ctx context.Context, due Due, failures int, pause time.Duration) error {
	_, err := d.db.Pool().Exec(ctx, `update kluis.delivery set leased_until = '-infinity', lease = null, failures = $3, due_at = clock_timestamp() + make_interval(secs => $4)
		where receiver_id = $1 and lease = $2`, due.Receiver, due.Lease, failures, pause.Seconds())
	time.AfterFunc(pause, d.pass)
	return err
}

// DueNow ends the pause of a receiver, so that the next delivery is tried at once.
func DueNow(ctx context.Context, tx pgx.Tx, receiver uuid.UUID) error {
	_, err := tx.Exec(ctx, `update kluis.delivery set due_at = now() where receiver_id = $1 and due_at > now()`, receiver)
	return err
}

// dueTable tells watermill-sql how to lease receivers: its schema adapter and its offsets adapter.
type dueTable struct {
	unused
	room  func() Room
	lease time.Duration
	found func() // makes a subscriber look again
}

// leaseDue leases the receiver that has waited longest among those for which there is room.
const leaseDue = `with next as (select receiver_id from kluis.delivery
		where $1 and due_at <= now() and leased_until <= now()
			and (failures = 0 and workspace_id <> all ($3::uuid[]) or failures > 0 and $2 and workspace_id <> all ($4::uuid[]))
		order by due_at limit 1 for update skip locked)
	update kluis.delivery set leased_until = clock_timestamp() + make_interval(secs => $5), lease = gen_random_uuid(), again = false
	from next where delivery.receiver_id = next.receiver_id
	returning delivery.workspace_id, delivery.receiver_id, delivery.lease, delivery.failures`

func (t *dueTable) SelectQuery(string, string, wsql.OffsetsAdapter) wsql.Query {
	r := t.room()
	full, failed := append([]uuid.UUID{}, r.Full...), append([]uuid.UUID{}, r.Failed...)
	return wsql.Query{Query: leaseDue, Args: []any{r.Any, r.Failing, full, failed, t.lease.Seconds()}}
}

func (t *dueTable) UnmarshalMessage(row wsql.Scanner) (wsql.Row, error) {
	var due Due
	if err := row.Scan(&due.Workspace.ID, &due.Receiver, &due.Lease, &due.Failures); err != nil {
		return wsql.Row{}, fmt.Errorf("read a delivery: %w", err)
	}
	t.found()
	payload, _ := json.Marshal(due) // plain values cannot fail
	return wsql.Row{Offset: 1, Msg: message.NewMessage(due.Lease.String(), payload)}, nil
}

// AckMessageQuery does nothing, because the look has written the lease.
func (*dueTable) AckMessageQuery(string, wsql.Row, string) wsql.Query {
	return wsql.Query{Query: `select`}
}

// unused implements the methods of an adapter that neither table needs: appends insert signals, migrations make tables, and nothing is
// published through Watermill.
type unused struct{}

func (unused) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelReadCommitted }
func (unused) InsertQuery(string, message.Messages) (wsql.Query, error) {
	return wsql.Query{}, errors.New("nothing is published here")
}
func (unused) NextOffsetQuery(string, string) wsql.Query { return wsql.Query{} }
func (unused) ConsumedMessageQuery(string, wsql.Row, string, []byte) wsql.Query {
	return wsql.Query{}
}
func (unused) SchemaInitializingQueries(string) []wsql.Query        { return nil }
func (unused) BeforeSubscribingQueries(string, string) []wsql.Query { return nil }
