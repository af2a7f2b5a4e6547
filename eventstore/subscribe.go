package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kluis-eu/kluis/internal/pg"
)

const (
	poll = time.Second           // how often to look when no bell rings
	rest = 20 * time.Millisecond // between two rings that are heeded: appends in a row make one catch-up
)

// Signals is Watermill's router on watermill-sql's subscribers, one for each workspace that may be handled at once.
//
// A subscriber keeps a connection of the pool, in the transaction that has the lock, while its handler works, so there are
// few, and handlers use transactions of their own. A subscriber that found nothing waits for its turn, which comes with a
// ring of the bell, or a second after the last: an idle process costs one look a second, whatever the number of workspaces
// and handlers.
//
// A handler that fails does not refuse its message, since watermill-sql resends a refused one in the same transaction. The
// message is marked instead, and its signals are put back for a while, in which all processes leave the workspace alone,
// also after a restart.
type Signals struct {
	db    *pg.DB
	bell  *Bell
	log   *slog.Logger
	slots int
	grace time.Duration // for handlers at work when the end comes
	beat  time.Duration // between two signs of life while a handler is at work
	idle  time.Duration // without one, the lock is lost

	turn   chan struct{} // holds one element when somebody is to look
	parked chan struct{} // one element for each subscriber that looks no more
	ending <-chan struct{}
	ended  <-chan struct{}
	down   atomic.Bool // the last look failed
}

// NewSignals makes what handles signals; Run runs it.
func NewSignals(db *pg.DB, bell *Bell, log *slog.Logger) *Signals {
	// A handler, and others, need connections of the pool beside the one that is held for it: never take them all.
	slots := min(max(int(db.Pool().Config().MaxConns)/2, 1), 4)
	if db.Pooled() {
		slots = 1
	}
	return &Signals{db: db, bell: bell, log: log, slots: slots, grace: 10 * time.Second, beat: 10 * time.Second, idle: 30 * time.Second,
		turn: make(chan struct{}, 1), parked: make(chan struct{}, slots)}
}

// Run has handle called for the signals of all workspaces, several at once, never two of one workspace, until ctx ends.
// Then it takes no more, gives the handlers at work a few seconds, ends their contexts, and returns. It runs once.
//
// Signals are deleted after handle returned nil. After ErrLeave they are another process's. After another error they are handled again in a while that doubles each time
// up to a minute; when the process dies, by another within a second. Those of a workspace that is gone are done.
func (s *Signals) Run(ctx context.Context, handle func(context.Context, Signal) error) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.ending, s.ended = ctx.Done(), work.Done()
	log := watermill.NewSlogLoggerWithLevelMapping(s.log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: s.grace}, log)
	if err != nil {
		return fmt.Errorf("make the router of signals: %w", err)
	}
	table := &signalTable{found: s.pass}
	db := stdlib.OpenDBFromPool(s.db.Pool())
	defer func() { _ = db.Close() }() // the pool stays open
	never := 24 * time.Hour           // the library refuses 0
	for i := range s.slots {
		// Each has a subscriber of its own, since closing one is not safe for several at once.
		subscriber, err := wsql.NewSubscriber(looks{db, s.idle}, wsql.SubscriberConfig{
			SchemaAdapter: table, OffsetsAdapter: table, BackoffManager: s, AckDeadline: &never}, log)
		if err != nil {
			return fmt.Errorf("make a subscriber to signals: %w", err)
		}
		router.AddConsumerHandler(fmt.Sprintf("background-%d", i), "signal", subscriber, s.deliver(table, handle))
	}
	go s.giveTurns()
	go func() {
		defer end()
		s.awaitHandlers()
	}()
	return router.Run(work)
}

// giveTurns has somebody look at each ring, and every so often.
func (s *Signals) giveTurns() {
	rung := s.bell.Any()
	for {
		select {
		case <-rung:
		case <-time.After(poll):
		case <-s.ending:
			return
		}
		rung = s.bell.Any() // before the look: what it does not see rings
		s.pass()
		time.Sleep(rest)
	}
}

// pass gives a turn to whoever waits for one, or will.
func (s *Signals) pass() {
	select {
	case s.turn <- struct{}{}:
	default:
	}
}

// awaitHandlers returns when the end has come and nobody is at work, or when their grace is over.
func (s *Signals) awaitHandlers() {
	<-s.ending
	grace := time.After(s.grace)
	for range s.slots {
		select {
		case <-s.parked:
		case <-grace:
			return
		}
	}
}

// HandleError is watermill-sql's BackoffManager: a subscriber calls it after each look, and looks again when it returns.
// A handler that is done asks for one more look, because signals that its workspace got meanwhile could not be taken.
func (s *Signals) HandleError(_ watermill.LoggerAdapter, none bool, err error) time.Duration {
	select {
	case <-s.ending:
		s.park()
		return 0
	default:
	}
	if was := s.down.Swap(err != nil); err != nil && !was {
		s.log.Warn("signals cannot be read, trying again", "error", err.Error())
	}
	if !none && err == nil {
		time.AfterFunc(rest, s.pass)
	}
	select {
	case <-s.turn:
	case <-s.ending:
		s.park()
	}
	return 0
}

func (s *Signals) park() {
	select {
	case s.parked <- struct{}{}:
	default:
	}
	<-s.ended
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

// work calls handle, and meanwhile keeps the transaction that has the lock alive. When that is lost, so is the context of
// the handler, because another process may have taken the workspace.
func (s *Signals) work(ctx context.Context, signal Signal, handle func(context.Context, Signal) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	alive.Go(func() { s.keepAlive(ctx, cancel) })
	return handle(ctx, signal)
}

func (s *Signals) keepAlive(ctx context.Context, lost context.CancelFunc) {
	tx, _ := wsql.TxFromContext(ctx)
	for sleep(ctx, s.beat); ctx.Err() == nil; sleep(ctx, s.beat) {
		// Not with ctx, whose end would break off the statement and the connection with it.
		if _, err := tx.ExecContext(context.WithoutCancel(ctx), `select`); err != nil {
			s.log.WarnContext(ctx, "the lock on a signal is lost", "error", err.Error())
			lost()
		}
	}
}
