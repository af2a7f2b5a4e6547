package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// SignalTopic is the one topic of Signals.
const SignalTopic = "signal"

const (
	poll      = time.Second           // how often to look when no bell rings
	rest      = 20 * time.Millisecond // between a look that found nothing and the next: appends in a row make one catch-up
	firstNack = 200 * time.Millisecond
	lastNack  = time.Minute
)

// Signals is the Watermill subscriber on the signals: message.Subscriber, for Watermill's router.
//
// It is not watermill-sql's, because that one resends a refused message in the transaction that took it, and would then
// take the same again: it cannot leave a workspace alone that fails, so that a few of those would stop all; each of
// its consumers polls by itself; and it gives a handler that takes long up while it works.
//
// One goroutine looks, so an idle process costs one short transaction in poll, whatever the number of workspaces and
// of handlers. Up to slots workspaces are handled at once; each holds a connection of the pool in a transaction of its
// own, so there are few, and handlers use transactions of theirs.
type Signals struct {
	db    *pg.DB
	bell  *Bell
	log   *slog.Logger
	slots int
	grace time.Duration // for handlers, after the end

	mu      sync.Mutex
	closed  bool
	cancels []context.CancelFunc
	running sync.WaitGroup
}

// NewSignals makes a subscriber that looks when the bell rings.
func NewSignals(db *pg.DB, bell *Bell, log *slog.Logger) *Signals {
	// A handler needs connections beside the one that is held for it: never take them all.
	slots := min(max(int(db.Pool().Config().MaxConns)/4, 1), 4)
	return &Signals{db: db, bell: bell, log: log, slots: slots, grace: 10 * time.Second}
}

// Subscribe delivers signals until ctx ends or Close is called. Then it takes no more, gives the handlers
// at work a few seconds, and closes the channel. Messages come in parallel, never two of one workspace at once.
//
// After an Ack the signals that the message stood for are deleted. After a Nack, or when the process dies, they are
// delivered again: here after a while that doubles each time up to a minute, in other processes whenever they look.
func (s *Signals) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic != SignalTopic {
		return nil, fmt.Errorf("subscribe to %q: the only topic is %q", topic, SignalTopic)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("subscribe to signals: the subscriber is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	s.cancels = append(s.cancels, cancel)
	sub := &subscription{
		Signals: s, out: make(chan *message.Message), free: make(chan struct{}, s.slots),
		look: make(chan struct{}, 1), failed: map[uuid.UUID]failure{},
	}
	s.running.Go(func() {
		defer cancel()
		sub.run(ctx)
	})
	return sub.out, nil
}

// Close ends all subscriptions, and waits for that.
func (s *Signals) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancels {
		cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// subscription is the goroutine that looks, and those that deliver.
type subscription struct {
	*Signals
	out      chan *message.Message
	free     chan struct{} // holds one element for each handler at work
	look     chan struct{} // holds one element when a handler has ended that leaves something to look for
	handlers sync.WaitGroup

	failedMu sync.Mutex
	failed   map[uuid.UUID]failure // the workspaces whose last message was refused
}

// failure is how often in a row a workspace's message was refused, and until when it is left alone.
type failure struct {
	times int
	until time.Time
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	defer s.handlers.Wait()
	var down error
	for {
		select {
		case s.free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		rung := s.bell.Any() // before the look: what it does not see rings
		except, again := s.leftAlone()
		t, err := s.take(ctx, except)
		if t != nil {
			s.handlers.Go(func() { s.deliver(ctx, t, rung) })
			if !t.more {
				s.wait(ctx, rung, again)
			}
			continue
		}
		<-s.free
		if err != nil && down == nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "signals cannot be read, trying again", "error", err.Error())
		}
		if down = err; err != nil {
			sleep(ctx, poll)
			continue
		}
		sleep(ctx, rest)
		s.wait(ctx, rung, again)
	}
}

// wait returns when there may be something to take: after a ring; when a handler says so; when a workspace was left
// alone long enough; or to look just so.
func (s *subscription) wait(ctx context.Context, rung <-chan struct{}, again time.Duration) {
	timer := time.NewTimer(min(again, poll))
	defer timer.Stop()
	select {
	case <-rung:
	case <-s.look:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// deliver hands one message over and waits for what becomes of it. The order is safe to break off anywhere: the
// signals go after the handler has done its work, and until then they are there for somebody else.
//
// rung is of before the signal was taken. When it rang since, the workspace may have new signals, which could
// not be taken while it was being handled.
func (s *subscription) deliver(ctx context.Context, t *taken, rung <-chan struct{}) {
	acked := s.offer(ctx, t)
	<-s.free
	select {
	case <-rung:
	default:
		if acked {
			return
		}
	}
	select {
	case s.look <- struct{}{}:
	default:
	}
}

func (s *subscription) offer(ctx context.Context, t *taken) (acked bool) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { time.AfterFunc(s.grace, cancel) })
	defer unhook()
	m := t.message(work)
	select {
	case s.out <- m:
	case <-ctx.Done():
		t.leave()
		return false
	}
	var err error
	select {
	case <-m.Acked():
		s.remember(t.Workspace, true)
		err = t.done()
		acked = err == nil
	case <-m.Nacked():
		s.remember(t.Workspace, false)
		err = t.refused()
	case <-work.Done(): // the handler does not heed its context
		t.leave()
	}
	if err != nil {
		s.log.WarnContext(ctx, "a signal will be handled again", "error", err.Error())
	}
	return acked
}

func (s *subscription) remember(w pg.Workspace, success bool) {
	s.failedMu.Lock()
	defer s.failedMu.Unlock()
	if success {
		delete(s.failed, w.ID)
		return
	}
	f := s.failed[w.ID]
	f.until = time.Now().Add(min(firstNack<<min(f.times, 10), lastNack))
	f.times++
	s.failed[w.ID] = f
}

// leftAlone gives the workspaces that are not to be taken now, and how long until the first of them is.
func (s *subscription) leftAlone() (ids []uuid.UUID, again time.Duration) {
	s.failedMu.Lock()
	defer s.failedMu.Unlock()
	ids, again = []uuid.UUID{}, poll
	for id, f := range s.failed {
		if left := time.Until(f.until); left > 0 {
			ids, again = append(ids, id), min(again, left)
		}
	}
	return ids, again
}
