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

// Due says that events may have to be delivered to a receiver. Whoever has it has the lease: nobody else delivers to the receiver.
type Due struct {
	Workspace pg.Workspace
	Receiver  uuid.UUID
	Lease     uuid.UUID
	Failures  int // in a row, in whatever process
}

// Room is how much a process takes on at the moment.
type Room struct {
	Any     bool        // one more at all
	Failing bool        // and one more that failed the last time
	Full    []uuid.UUID // workspaces of which it has as many as it may
	Failed  []uuid.UUID // and those of which it has as many that failed
}

// Dues has the receivers delivered to that are due. A row of kluis.delivery stands for such a receiver:
//
//  1. Who handles a signal makes the rows of the workspace's receivers, or notes in one that is there that more came (Push).
//  2. The look leases a row. The message ends there, and so does the transaction: the lease outlives both, since a receiver may take long
//     to answer, and a connection would be held for each.
//  3. Whoever delivers begins once that transaction is committed (Held): before, nobody sees the lease, and giving it back would do nothing.
//  4. Whoever delivers renews the lease (Renew), which another may take over once it has run out.
//  5. When all is delivered the row is deleted, unless more came since it was leased or Done asked before (Done).
//  6. After a failure the row is left alone for a while, without a lease (PutBack).
//
// When the process dies between any two of these, the row is still there, and the lease runs out.
type Dues struct {
	turns
	lease time.Duration
	idle  time.Duration // how long the transaction of a look is kept for a process that shows no sign of life
}

// dueEvery is how often a process looks for receivers whose time has come, and for those that another process let go of.
const dueEvery = 5 * time.Second

// DueLease is for how long a receiver is leased: longer than whoever delivers goes without renewing it.
const DueLease = 30 * time.Second

// NewDues makes what has receivers delivered to; Run runs it.
func NewDues(db *pg.DB, log *slog.Logger) *Dues {
	never := func() <-chan struct{} { return nil }
	return &Dues{newTurns(db, log, "deliveries", never, dueEvery, 1), DueLease, 30 * time.Second}
}

// Run has take called for each receiver that is due, while there is room, until ctx ends. It runs once. take does not wait until all is
// delivered. Wake says that there may be more room.
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

// Wake has somebody look soon.
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

// Held waits until the look that leased a receiver has committed. It is false when it did not.
func (d *Dues) Held(ctx context.Context, due Due) (held bool, err error) {
	err = d.db.Pool().QueryRow(ctx, `select coalesce(lease = $2, false) from kluis.delivery where receiver_id = $1 for share`, due.Receiver, due.Lease).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return held, err
}

// Renew keeps a lease. It is false when the lease is lost.
func (d *Dues) Renew(ctx context.Context, due Due) (kept bool, err error) {
	tag, err := d.db.Pool().Exec(ctx, `update kluis.delivery set leased_until = clock_timestamp() + make_interval(secs => $3) where receiver_id = $1 and lease = $2`,
		due.Receiver, due.Lease, d.lease.Seconds())
	return tag.RowsAffected() > 0, err
}

// Done gives a lease back when nothing came since it was taken, or since Done was false: whoever delivers looks at the log once more then.
func (d *Dues) Done(ctx context.Context, due Due) (done bool, err error) {
	tag, err := d.db.Pool().Exec(ctx, `delete from kluis.delivery where receiver_id = $1 and lease = $2 and not again`, due.Receiver, due.Lease)
	if err != nil || tag.RowsAffected() > 0 {
		return err == nil, err
	}
	tag, err = d.db.Pool().Exec(ctx, `update kluis.delivery set again = false where receiver_id = $1 and lease = $2`, due.Receiver, due.Lease)
	return tag.RowsAffected() == 0, err // the lease is lost
}

// PutBack gives a lease back and has the receiver left alone for a while, by all processes. failures are those in a row.
func (d *Dues) PutBack(ctx context.Context, due Due, failures int, pause time.Duration) error {
	_, err := d.db.Pool().Exec(ctx, `update kluis.delivery set leased_until = '-infinity', lease = null, failures = $3, due_at = clock_timestamp() + make_interval(secs => $4)
		where receiver_id = $1 and lease = $2`, due.Receiver, due.Lease, failures, pause.Seconds())
	time.AfterFunc(pause, d.pass)
	return err
}

// DueNow is what has a receiver tried again at once that is left alone for a while.
func DueNow(ctx context.Context, tx pgx.Tx, receiver uuid.UUID) error {
	_, err := tx.Exec(ctx, `update kluis.delivery set due_at = now() where receiver_id = $1 and due_at > now()`, receiver)
	return err
}

// dueTable tells watermill-sql how to lease receivers: its schema adapter and its offsets adapter.
type dueTable struct {
	unused
	room  func() Room
	lease time.Duration
	found func() // somebody looks again
}

// leaseDue leases the receiver that has waited longest, of those for which there is room.
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

// AckMessageQuery does nothing: the lease is what the look has written.
func (*dueTable) AckMessageQuery(string, wsql.Row, string) wsql.Query {
	return wsql.Query{Query: `select`}
}

// unused is what neither table needs of an adapter: appends insert signals, migrations make tables, and nothing is published here.
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
