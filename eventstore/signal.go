package eventstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Signal says that a workspace has events up to a position: what the background gets to hear, at least once
// for each append, though one signal may stand for many. After the log went back it may lie beyond the head.
type Signal struct {
	Workspace pg.Workspace
	Position  int64
	Attempts  int // that failed, in a row, in whatever process
}

// signalTable tells watermill-sql how to take signals and what becomes of them: its schema adapter and its offsets
// adapter. A message stands for all rows of one workspace. There is one handler for a workspace, in all processes:
//
//  1. An append draws the id of its row while it has the lock on the head row, so a workspace's ids are in the order of
//     its commits, and a later row is never before one that can be seen.
//  2. The look locks the oldest row of a workspace, or passes the workspace by when somebody else has that lock.
//  3. The handler works. Rows that come meanwhile are behind the locked one, and nobody takes a workspace by those.
//  4. The rows that the message stands for are deleted; after a failure the oldest stays, with its id.
//  5. The commit lets go of the lock. When the process dies before, all rows are still there, and the lock is not.
type signalTable struct {
	unused
	found func() // somebody else may look while this is handled

	mu   sync.Mutex
	last uuid.UUID               // the workspace that was taken last
	left map[uuid.UUID]time.Time // workspaces that others are to take, until when
}

// ErrLeave is the error of a handler that leaves a workspace to another process for a while. It is no failure: its signals stay as they
// are, unless the workspace is gone.
var ErrLeave = errors.New("left to another process")

// leaveFor is how long a process takes no signals of a workspace that it left to others.
const leaveFor = 5 * time.Second

func (t *signalTable) leave(w pg.Workspace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == nil {
		t.left = map[uuid.UUID]time.Time{}
	}
	t.left[w.ID] = time.Now().Add(leaveFor)
}

// leaving gives the workspaces that are left to others at the moment. The caller holds the lock.
func (t *signalTable) leaving() []uuid.UUID {
	ids := []uuid.UUID{}
	for id, until := range t.left {
		if time.Now().After(until) {
			delete(t.left, id)
		} else {
			ids = append(ids, id)
		}
	}
	return ids
}

// held are the rows of a message.
type held struct {
	Signal
	oldest, newest int64 // ids
}

// selectDue finds the next workspace behind $1, in a circle, that has signals, is not being handled, is none of $2, and need
// not be left alone. The walk goes from the oldest signal of a workspace to that of the next, by the primary key, and stops at the
// first that will do: how many signals wait does not matter. Laterals, and beginLook, keep Postgres from any other way,
// whatever it believes about a table that is empty most of the time.
const selectDue = `with recursive walk (workspace_id, id, again) as (
		select $1::uuid, 0::bigint, false
		union all
		select coalesce(next.workspace_id, '00000000-0000-0000-0000-000000000000'), next.id, again or next.id is null
		from walk left join lateral (select workspace_id, id from kluis.signal s
			where s.workspace_id > walk.workspace_id order by s.workspace_id, s.id limit 1) next on true
		where not again or next.workspace_id <= $1)
	select oldest.workspace_id, oldest.id, newest.id, newest.position, oldest.attempts
	from walk
	cross join lateral (select * from kluis.signal s where s.workspace_id = walk.workspace_id and s.id = walk.id
		and coalesce(s.not_before <= now(), true) for update skip locked) oldest
	cross join lateral (select id, position from kluis.signal s where s.workspace_id = oldest.workspace_id
		order by s.id desc limit 1) newest
	where walk.workspace_id <> all ($2::uuid[])
	limit 1`

// looks begins the transactions of looks.
type looks struct {
	*sql.DB
	idle time.Duration // how long the lock is kept for a process that shows no sign of life
}

const beginLook = `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
	set_config('idle_in_transaction_session_timeout', $1, true)`

// BeginTx begins one.
func (l looks) BeginTx(ctx context.Context, options *sql.TxOptions) (*sql.Tx, error) {
	tx, err := l.DB.BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, beginLook, strconv.FormatInt(l.idle.Milliseconds(), 10)); err != nil {
		_ = tx.Rollback() // the first error says more
		return nil, err
	}
	return tx, nil
}

func (t *signalTable) SelectQuery(string, string, wsql.OffsetsAdapter) wsql.Query {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wsql.Query{Query: selectDue, Args: []any{t.last, t.leaving()}}
}

func (t *signalTable) UnmarshalMessage(row wsql.Scanner) (wsql.Row, error) {
	var h held
	if err := row.Scan(&h.Workspace.ID, &h.oldest, &h.newest, &h.Position, &h.Attempts); err != nil {
		return wsql.Row{}, fmt.Errorf("read a signal: %w", err)
	}
	t.mu.Lock()
	t.last = h.Workspace.ID
	t.mu.Unlock()
	t.found()
	payload, _ := json.Marshal(h.Signal) // plain values cannot fail
	m := message.NewMessage(strconv.FormatInt(h.oldest, 10), payload)
	return wsql.Row{Offset: h.oldest, Msg: m, ExtraData: map[string]any{"held": h}}, nil
}

// deleteSignals deletes what was handled. Ids are in commit order in a workspace, so nothing goes that the message did not
// stand for.
const deleteSignals = `delete from kluis.signal where workspace_id = $1 and id <= $2`

// putBack leaves one signal for all, or none when the workspace is gone.
const putBack = `with workspace as (select from kluis.workspace where id = $1 and status not in ('erased', 'moved')),
		rest as (delete from kluis.signal where workspace_id = $1 and id <= $2 and (id <> $3 or not exists (select from workspace)))
	update kluis.signal set position = $4, attempts = attempts + 1, not_before = clock_timestamp() + make_interval(secs => $5)
	where workspace_id = $1 and id = $3 and exists (select from workspace)`

// leaveBe leaves all signals as they are, unless the workspace is gone.
const leaveBe = `delete from kluis.signal where workspace_id = $1 and id <= $2
	and not exists (select from kluis.workspace where id = $1 and status not in ('erased', 'moved'))`

// Keys in the metadata of a message whose handler failed, or left it to another process.
const (
	failed = "failed"
	left   = "left"
)

// AckMessageQuery runs after the handler, and before the commit that lets others take the workspace.
func (*signalTable) AckMessageQuery(_ string, row wsql.Row, _ string) wsql.Query {
	h := row.ExtraData["held"].(held)
	if row.Msg.Metadata.Get(left) != "" {
		return wsql.Query{Query: leaveBe, Args: []any{h.Workspace.ID, h.newest}}
	}
	if row.Msg.Metadata.Get(failed) == "" {
		return wsql.Query{Query: deleteSignals, Args: []any{h.Workspace.ID, h.newest}}
	}
	return wsql.Query{Query: putBack, Args: []any{h.Workspace.ID, h.newest, h.oldest, h.Position, pause(h.Attempts).Seconds()}}
}

// pause is how long a workspace is left alone after its signals failed once more.
func pause(attempts int) time.Duration {
	return min(200*time.Millisecond<<min(attempts, 10), time.Minute)
}
