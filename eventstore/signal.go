package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Signal says that a workspace has events up to a position: what the background gets to hear, at least once
// for each append, though one signal may stand for many.
type Signal struct {
	Workspace pg.Workspace
	Position  int64
}

// ReadSignal reads what a message of Signals says.
func ReadSignal(m *message.Message) (s Signal, err error) {
	if err := json.Unmarshal(m.Payload, &s); err != nil {
		return s, fmt.Errorf("read signal %s: %w", m.UUID, err)
	}
	return s, nil
}

// taken is a signal that is being handled. Its transaction has the lock on the oldest signal of the workspace,
// and nobody takes a workspace by any but its oldest (ids are given under the lock on the head row, so a later one
// is higher): so there is one handler for a workspace, in all processes, until the transaction ends, by whatever means.
type taken struct {
	Signal
	id   int64
	more bool // other workspaces have signals, which somebody may be handling
	tx   pgx.Tx
}

// endPatience bounds the end of the transaction, which does not depend on anybody's context.
const endPatience = 5 * time.Second

// selectDue stands for all signals of a workspace by the highest position; $1 are workspaces that are left alone.
const selectDue = `with due as (select min(id) as id, max(position) as position from kluis.signal
		where workspace_id <> all($1::uuid[]) group by workspace_id)
	select s.id, s.workspace_id, due.position, (select count(*) > 1 from due) from due join kluis.signal s on s.id = due.id
	order by s.id for update of s skip locked limit 1`

// take looks for the workspace that has waited longest of those that nobody handles; nil when there is none.
func (s *Signals) take(ctx context.Context, except []uuid.UUID) (*taken, error) {
	tx, err := s.db.Pool().Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for signals: %w", err)
	}
	t := &taken{tx: tx}
	err = tx.QueryRow(ctx, selectDue, except).Scan(&t.id, &t.Workspace.ID, &t.Position, &t.more)
	if err == nil {
		return t, nil
	}
	t.leave()
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return nil, fmt.Errorf("look for signals: %w", err)
}

// done deletes the signals that were handled. Positions are in commit order and signals are committed with
// their events: whoever saw the signal of a position saw all events up to it, so nothing unhandled goes.
// What was appended since has a higher position, and stays.
func (t *taken) done() error {
	return t.end(t.Position)
}

// refused leaves the one signal that stands for all that were seen, so that
// they do not pile up while a workspace fails.
func (t *taken) refused() error {
	return t.end(t.Position - 1)
}

func (t *taken) end(position int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	_, err := t.tx.Exec(ctx, `delete from kluis.signal where workspace_id = $1 and position <= $2`, t.Workspace.ID, position)
	if err == nil {
		err = t.tx.Commit(ctx)
	}
	if err != nil {
		t.leave()
		return fmt.Errorf("delete the signals of workspace %s up to position %d: %w", t.Workspace.ID, position, err)
	}
	return nil
}

// leave lets the signal be taken again.
func (t *taken) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	_ = t.tx.Rollback(ctx) // when it fails the connection is closed, and the lock ends with that
}

func (t *taken) message(ctx context.Context) *message.Message {
	payload, _ := json.Marshal(t.Signal) // two plain values cannot fail
	m := message.NewMessage(strconv.FormatInt(t.id, 10), payload)
	m.SetContext(ctx)
	return m
}
