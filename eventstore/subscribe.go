package eventstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

const poll = time.Second // how often to look when no bell rings

// Signals handles the signals of all workspaces.
//
// A failed handler does not refuse its message, because watermill-sql resends a refused message in the same transaction. The message is marked
// instead, and one of its signals stays with a pause, during which no process takes the workspace, also after a restart.
type Signals struct {
	turns
	beat time.Duration // between two signs of life while a handler is at work
	idle time.Duration // without a sign of life for so long, the lock is lost
}

// NewSignals makes a Signals; Run runs it.
func NewSignals(db *pg.DB, bell *Bell, log *slog.Logger) *Signals {
	// Handlers, and the rest of the process, need connections of the pool besides those of the looks, so the looks never take all.
	slots := min(max(int(db.Pool().Config().MaxConns)/2, 1), 4)
	if db.Pooled() {
		slots = 1
	}
	return &Signals{newTurns(db, log, "signals", bell.Any, poll, slots), 10 * time.Second, 30 * time.Second}
}

// Run calls handle for the signals of all workspaces until ctx ends: several calls at once, but never two for one workspace. When ctx ends,
// Run takes no more signals, gives the handlers at work a few seconds, ends their contexts, and returns. Run is called once.
//
// The signals are deleted after handle returned nil. After ErrLeave another process takes them. After any other error they are handled again
// after a pause that doubles each time, up to a minute. When the process dies, another one takes them within a second. Signals of a
// workspace that is gone are deleted.
func (s *Signals) Run(ctx context.Context, handle func(context.Context, Signal) error) error {
	table := &signalTable{found: s.pass}
	return s.run(ctx, table, func(db *sql.DB) looks { return looks{db, s.idle} }, s.deliver(table, handle))
}

// deliver makes handle one of the router's handlers, which never refuses a message.
func (s *Signals) deliver(table *signalTable, handle func(context.Context, Signal) error) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		var signal Signal
		err := json.Unmarshal(m.Payload, &signal)
		if err == nil {
			err = s.work(m.Context(), signal, handle)
		}
		if errors.Is(err, ErrLeave) {
			m.Metadata.Set(left, "yes")
			table.leave(signal.Workspace)
			return nil
		}
		if err != nil && m.Context().Err() == nil { // at the end of the process the transaction is undone
			m.Metadata.Set(failed, "yes")
			again := pause(signal.Attempts)
			s.log.Error("signals failed, and are put back while their workspace is there", "workspace", signal.Workspace.ID,
				"position", signal.Position, "attempts", signal.Attempts+1, "again_in", again.String(), "error", err.Error())
			time.AfterFunc(again+rest, s.pass)
		}
		return nil
	}
}

// work calls handle, and meanwhile keeps the transaction with the lock alive. When the transaction is lost, the context of the handler ends,
// because another process may have taken the workspace.
func (s *Signals) work(ctx context.Context, signal Signal, handle func(context.Context, Signal) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	alive.Go(func() { s.keepAlive(ctx, cancel) })
	return panics.Caught(func() error { return handle(ctx, signal) })()
}

func (s *Signals) keepAlive(ctx context.Context, lost context.CancelFunc) {
	tx, _ := wsql.TxFromContext(ctx)
	for sleep(ctx, s.beat); ctx.Err() == nil; sleep(ctx, s.beat) {
		// The end of ctx would break off the statement and close the connection.
		if _, err := tx.ExecContext(context.WithoutCancel(ctx), `select`); err != nil {
			s.log.WarnContext(ctx, "the lock on a signal is lost", "error", err.Error())
			lost()
		}
	}
}
