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

// Signal tells the background that a workspace has events up to a position. Every append is followed by a signal, and one signal may stand
// for many appends. After the log went back, the position may be beyond the head.
type Signal struct {
	Workspace pg.Workspace
	Position  int64
	Attempts  int // failures in a row, over all processes
}

// signalTable tells watermill-sql how to take signals and how to end them: it is the schema adapter and the offsets adapter. A message stands
// for all rows of one workspace. Only one handler works on a workspace, over all processes:
//
//  1. An append draws the id of its row while it has the lock on the head row, so a workspace's ids are in the order of
//     its commits, and a later row is never before one that can be seen.
//  2. A look locks the oldest row of a workspace, or skips the workspace when another handler has that lock.
//  3. The handler works. Rows that come meanwhile are behind the locked one, and a look locks only the oldest row.
//  4. The rows of the message are deleted; after a failure the oldest stays, with its id.
//  5. The commit releases the lock. When the process dies before the commit, all rows remain and the lock is released.
type signalTable struct {
	unused
	found func() // lets another subscriber look while this message is handled

	mu   sync.Mutex
	last uuid.UUID               // the workspace that was taken last
	left map[uuid.UUID]time.Time // workspaces that this process leaves to others, and until when
}

// ErrLeave is the error of a handler that leaves a workspace to another process for a while. It does not count as a failure: the signals
// stay as they are, unless the workspace is gone.
var ErrLeave = errors.New("left to another process")

// leaveFor is how long a process leaves a workspace to the others.
const leaveFor = 5 * time.Second

func (t *signalTable) leave(w pg.Workspace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == nil {
		t.left = map[uuid.UUID]time.Time{}
	}
	t.left[w.ID] = time.Now().Add(leaveFor)
}

// leaving gives the workspaces that are left to others at present. The caller holds the mutex.
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

// selectDue finds the next workspace after $1, in a circle, that has signals, has no handler, is none of $2 and is not in a pause. The query
// walks by the primary key from the oldest signal of one workspace to that of the next, and stops at the first that fits, so the number of
// waiting signals does not matter. The laterals, and beginLook, force this plan, because Postgres' statistics are useless for a table that
// is mostly empty.
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
	idle time.Duration // how long Postgres keeps the lock without a sign of life of the process
}

const beginLook = `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
	set_config('idle_in_transaction_session_timeout', $1, true)`

// BeginTx begins the transaction of a look.
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

// deleteSignals deletes the handled signals. The ids of a workspace are in commit order, so later signals stay.
const deleteSignals = `delete from kluis.signal where workspace_id = $1 and id <= $2`

// putBack keeps one signal that stands for all, or none when the workspace is gone.
const putBack = `with workspace as (select from kluis.workspace where id = $1 and status not in ('erased', 'moved')),
		rest as (delete from kluis.signal where workspace_id = $1 and id <= $2 and (id <> $3 or not exists (select from workspace)))
	update kluis.signal set position = $4, attempts = attempts + 1, not_before = clock_timestamp() + make_interval(secs => $5)
	where workspace_id = $1 and id = $3 and exists (select from workspace)`

// leaveBe keeps all signals, unless the workspace is gone.
const leaveBe = `delete from kluis.signal where workspace_id = $1 and id <= $2
	and not exists (select from kluis.workspace where id = $1 and status not in ('erased', 'moved'))`

// Keys in the metadata of a message whose handler failed, or left it to another process.
const (
	failed = "failed"
	left   = "left"
)

// AckMessageQuery runs after the handler and before the commit that releases the workspace.
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

// pause gives the pause of a workspace after so many failures in a row.
func pause(attempts int) time.Duration {
	return min(200*time.Millisecond<<min(attempts, 10), time.Minute)
}
