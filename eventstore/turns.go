package eventstore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

const rest = 20 * time.Millisecond // between two turns by a ring, so that several appends make one catch-up

// turns is Watermill's router on watermill-sql's subscribers. A subscriber looks for work in a table when it has its turn. A turn comes with a
// ring, or some time after the last turn. So an idle process costs one look at a time, for any number of subscribers.
//
// While its handler works, a subscriber keeps a connection of the pool, in the transaction of its look. So there are few subscribers.
type turns struct {
	db    *pg.DB
	log   *slog.Logger
	what  string                 // the name of the work, for the log
	rung  func() <-chan struct{} // a channel that is closed at the next ring
	every time.Duration          // the time between two turns without a ring
	slots int
	grace time.Duration // for handlers that are at work when the context ends

	turn   chan struct{} // holds one element when a subscriber must look
	parked chan struct{} // one element for each subscriber that has stopped looking
	ending <-chan struct{}
	ended  <-chan struct{}
	down   atomic.Bool // the last look failed
}

func newTurns(db *pg.DB, log *slog.Logger, what string, rung func() <-chan struct{}, every time.Duration, slots int) turns {
	return turns{db: db, log: log, what: what, rung: rung, every: every, slots: slots, grace: 10 * time.Second,
		turn: make(chan struct{}, 1), parked: make(chan struct{}, slots)}
}

// table tells watermill-sql how to take work and how to end it.
type table interface {
	wsql.SchemaAdapter
	wsql.OffsetsAdapter
}

// run calls handle for the work found in table, in transactions that begin begins, until ctx ends. Then run takes no more work, gives the
// handlers at work a few seconds, ends their contexts, and returns. run is called once.
func (s *turns) run(ctx context.Context, table table, begin func(*sql.DB) looks, handle message.NoPublishHandlerFunc) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.ending, s.ended = ctx.Done(), work.Done()
	log := watermill.NewSlogLoggerWithLevelMapping(telemetry.UntilEnd(s.log, func() bool { return ctx.Err() != nil }), map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: s.grace}, log)
	if err != nil {
		return fmt.Errorf("make the router of %s: %w", s.what, err)
	}
	db := stdlib.OpenDBFromPool(s.db.Pool())
	defer func() { _ = db.Close() }() // the pool stays open
	never := 24 * time.Hour           // the library refuses 0
	for i := range s.slots {
		// Each handler has a subscriber of its own, because closing a shared one is not safe.
		subscriber, err := wsql.NewSubscriber(begin(db), wsql.SubscriberConfig{
			SchemaAdapter: table, OffsetsAdapter: table, BackoffManager: s, AckDeadline: &never}, log)
		if err != nil {
			return fmt.Errorf("make a subscriber to %s: %w", s.what, err)
		}
		router.AddConsumerHandler(fmt.Sprintf("%s-%d", s.what, i), s.what, subscriber, handle)
	}
	go s.giveTurns()
	go func() {
		defer end()
		s.awaitHandlers()
	}()
	return router.Run(work)
}

// giveTurns gives a turn at each ring, and at intervals.
func (s *turns) giveTurns() {
	rung := s.rung()
	for {
		select {
		case <-rung:
		case <-time.After(s.every):
		case <-s.ending:
			return
		}
		rung = s.rung() // before the look: events that the look misses ring
		s.pass()
		time.Sleep(rest)
	}
}

// pass gives a turn to a waiting subscriber, or to the next one that waits.
func (s *turns) pass() {
	select {
	case s.turn <- struct{}{}:
	default:
	}
}

// awaitHandlers returns after the end of the context, when no handler is at work or when their grace is over.
func (s *turns) awaitHandlers() {
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
// After a handler is done, one more look follows, because signals that its workspace got meanwhile could not be taken.
func (s *turns) HandleError(_ watermill.LoggerAdapter, none bool, err error) time.Duration {
	select {
	case <-s.ending:
		s.park()
		return 0
	default:
	}
	if was := s.down.Swap(err != nil); err != nil && !was {
		s.log.Warn(s.what+" cannot be read, trying again", "error", err.Error())
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

func (s *turns) park() {
	select {
	case s.parked <- struct{}{}:
	default:
	}
	<-s.ended
}
