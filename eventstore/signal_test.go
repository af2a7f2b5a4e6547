package eventstore_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// station is one process as far as signals go: a pool, a bell, a store and a subscriber.
type station struct {
	db      *pg.DB
	bell    *eventstore.Bell
	store   *eventstore.Store
	signals *eventstore.Signals
}

func newStation(t testing.TB, url string) *station {
	t.Helper()
	db, err := pg.Open(context.Background(), url, 16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	bell := eventstore.NewBell()
	store := eventstore.New(db, bell)
	t.Cleanup(store.Close)
	return &station{db: db, bell: bell, store: store, signals: eventstore.NewSignals(db, bell, slog.New(slog.DiscardHandler))}
}

// work handles signals as the router does, until the test ends or stop is called.
func (s *station) work(t testing.TB, handle func(context.Context, eventstore.Signal) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := s.signals.Subscribe(ctx, eventstore.SignalTopic)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var handlers sync.WaitGroup
	go func() {
		defer close(ended)
		for m := range messages {
			handlers.Go(func() {
				signal, err := eventstore.ReadSignal(m)
				if err == nil {
					err = handle(m.Context(), signal)
				}
				if err != nil {
					m.Nack()
					return
				}
				m.Ack()
			})
		}
		handlers.Wait()
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func (s *station) append(t testing.TB, w pg.Workspace) int64 {
	t.Helper()
	receipt, err := s.store.Append(context.Background(), w, write("thing-"+uuid.NewString(), 0, "done"))
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Last
}

// waiting counts the signals that are stored.
func (s *station) waiting(t testing.TB) (n int) {
	t.Helper()
	if err := s.db.Pool().QueryRow(context.Background(), `select count(*) from kluis.signal`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// settle waits until all signals are handled.
func (s *station) settle(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.waiting(t) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d signals are left", s.waiting(t))
		}
	}
}

// receive waits for what has to come.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(15 * time.Second):
		t.Fatalf("not within 15 s: %s", what)
		panic("unreachable")
	}
}

func TestSignalLatency(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	s := newStation(t, f.url)
	handled := make(chan time.Time, 100)
	s.work(t, func(context.Context, eventstore.Signal) error {
		handled <- time.Now()
		return nil
	})
	// An open write transaction in another database, and one in this, hold nothing up.
	for _, url := range []string{pgtest.Database(t), f.url} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		if _, err := conn.Exec(t.Context(), `begin; select pg_current_xact_id()`); err != nil {
			t.Fatal(err)
		}
	}
	var took []time.Duration
	for range 40 {
		time.Sleep(20 * time.Millisecond)
		s.append(t, w)
		committed := time.Now()
		took = append(took, receive(t, handled, "the handler").Sub(committed))
		s.settle(t)
	}
	slices.Sort(took)
	t.Logf("from the answer of an append to its handler: p50 %s, p95 %s, max %s", took[20], took[38], took[39])
}

// What piles up while a workspace waits, or is being handled, is handled at once.
func TestSignalsCollapse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	s := newStation(t, f.url)
	for range 50 {
		s.append(t, w)
	}
	if n := s.waiting(t); n != 50 {
		t.Fatalf("%d signals, want 50", n)
	}
	positions, again := make(chan int64, 100), make(chan struct{})
	s.work(t, func(_ context.Context, signal eventstore.Signal) error {
		positions <- signal.Position
		<-again
		return nil
	})
	if p := receive(t, positions, "the first"); p != 50 {
		t.Errorf("the first is for position %d, want 50", p)
	}
	for range 50 {
		s.append(t, w)
	}
	close(again)
	if p := receive(t, positions, "the second"); p != 100 {
		t.Errorf("the second is for position %d, want 100", p)
	}
	s.settle(t)
	select {
	case p := <-positions:
		t.Errorf("a third, for position %d", p)
	default:
	}
}

// A workspace that takes long, and one that fails, leave the others alone.
func TestSlowAndFailingWorkspaces(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	slow, poisoned, healthy := f.workspace(t), f.workspace(t), f.workspace(t)
	s := newStation(t, f.url)
	free := make(chan struct{})
	started, handled := make(chan int64, 10), make(chan int64, 100)
	var tried atomic.Int32
	s.work(t, func(_ context.Context, signal eventstore.Signal) error {
		switch signal.Workspace {
		case slow:
			started <- signal.Position
			<-free
		case poisoned:
			tried.Add(1)
			if signal.Position <= 20 {
				return errors.New("poisoned")
			}
		default:
			handled <- signal.Position
		}
		return nil
	})
	s.append(t, slow)
	receive(t, started, "the slow one")
	for range 20 {
		s.append(t, poisoned)
	}
	for range 30 { // many wait for the slow one, none of them takes a place
		s.append(t, slow)
	}
	for range 10 {
		p := s.append(t, healthy)
		for receive(t, handled, "the healthy one") < p {
		}
	}
	for tried.Load() < 3 { // again and again
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond)
	if n := tried.Load(); n > 5 {
		t.Errorf("tried %d times: without a pause", n)
	}
	if n := s.waiting(t); n > 31+5 { // the slow one's, and few of the poisoned one's
		t.Errorf("%d signals wait", n)
	}
	s.append(t, poisoned) // healed
	close(free)
	if p := receive(t, started, "the slow one again"); p != 31 {
		t.Errorf("the slow one goes on at position %d, want 31", p)
	}
	s.settle(t)
}

// Two processes share the signals of eight writers: none is lost, and no workspace has two handlers at once.
func TestProcessesShareSignals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var workspaces []pg.Workspace
	for range 6 {
		workspaces = append(workspaces, f.workspace(t))
	}
	var mu sync.Mutex
	busy, reached := map[pg.Workspace]bool{}, map[pg.Workspace]int64{}
	ctx, cancel := context.WithCancel(context.Background())
	var lines sync.WaitGroup
	defer lines.Wait()
	defer cancel()
	var stations []*station
	var counts [2]atomic.Int32
	for i := range counts {
		s := newStation(t, f.url)
		stations = append(stations, s)
		lines.Go(func() { _ = s.bell.Connect(ctx, s.db, slog.New(slog.DiscardHandler)) })
		s.work(t, func(ctx context.Context, signal eventstore.Signal) error {
			w := signal.Workspace
			mu.Lock()
			if busy[w] {
				t.Errorf("workspace %s has two handlers", w.ID)
			}
			busy[w] = true
			mu.Unlock()
			counts[i].Add(1)
			var head int64 // what a catch-up would reach
			err := s.db.Do(ctx, w, pg.Exec(`select position from head`).Scan(&head))
			mu.Lock()
			defer mu.Unlock()
			busy[w] = false
			if head < signal.Position {
				t.Errorf("the signal of position %d came when the head was %d", signal.Position, head)
			}
			reached[w] = max(reached[w], head)
			return err
		})
	}
	var writers sync.WaitGroup
	const each = 60
	for n := range 8 {
		writers.Go(func() {
			for i := range each {
				stations[n%2].append(t, workspaces[(n+i)%len(workspaces)])
			}
		})
	}
	writers.Wait()
	stations[0].settle(t)
	var sum int64
	for _, w := range workspaces {
		head := int64(len(f.log(t, w)))
		if reached[w] != head {
			t.Errorf("workspace %s was handled up to %d of %d", w.ID, reached[w], head)
		}
		sum += head
	}
	if sum != 8*each {
		t.Errorf("%d events, want %d", sum, 8*each)
	}
	t.Logf("%d appends, %d and %d messages", sum, counts[0].Load(), counts[1].Load())
	if counts[0].Load() == 0 || counts[1].Load() == 0 {
		t.Error("the work was not shared")
	}
}

// A process that dies in the middle of handling loses nothing.
func TestSignalSurvivesItsHandler(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	first := newStation(t, f.url+"&application_name=first")
	second := newStation(t, f.url)
	started, handled := make(chan int64, 10), make(chan int64, 10)
	never := make(chan struct{})
	defer close(never)
	first.signals.SetGrace(0)
	stop := first.work(t, func(ctx context.Context, signal eventstore.Signal) error {
		started <- signal.Position
		select {
		case <-ctx.Done():
		case <-never:
		}
		return ctx.Err()
	})
	first.append(t, w)
	receive(t, started, "the first process")

	// Killed: its connections are gone, and whatever the handler does, nobody hears of it.
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'first'`); err != nil {
		t.Fatal(err)
	}
	receive(t, started, "the signal again, after the connection was lost")

	// Stopped, with a handler that breaks off.
	stop()
	second.work(t, func(_ context.Context, signal eventstore.Signal) error {
		handled <- signal.Position
		return nil
	})
	if p := receive(t, handled, "the second process"); p != 1 {
		t.Errorf("position %d, want 1", p)
	}
	second.settle(t)
}

// At the end, a handler at work may finish, and what it did counts.
func TestSignalsEndGently(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	s := newStation(t, f.url)
	started, finish := make(chan struct{}, 10), make(chan struct{})
	stop := s.work(t, func(ctx context.Context, _ eventstore.Signal) error {
		started <- struct{}{}
		<-finish
		return ctx.Err()
	})
	s.append(t, w)
	receive(t, started, "the handler")
	time.AfterFunc(100*time.Millisecond, func() { close(finish) })
	stop()
	if n := s.waiting(t); n != 0 {
		t.Errorf("%d signals are left", n)
	}
	if err := s.signals.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.signals.Subscribe(t.Context(), eventstore.SignalTopic); err == nil {
		t.Error("subscribed after Close")
	}
}

// An idle process asks one thing a second, whatever the number of workspaces.
func TestIdleSignalsAreCheap(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newStation(t, f.url)
	for range 6 {
		s.append(t, f.workspace(t))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var line sync.WaitGroup
	line.Go(func() { _ = s.bell.Connect(ctx, s.db, slog.New(slog.DiscardHandler)) })
	defer line.Wait()
	defer cancel()
	s.work(t, func(context.Context, eventstore.Signal) error { return nil })
	s.settle(t)
	time.Sleep(500 * time.Millisecond)
	if n := asked(t, f.url, 3*time.Second); n == 0 || n > 5 {
		t.Errorf("asked %d times in 3 idle seconds", n)
	}
}

// asked counts how often the connections to a database have asked for something, as far as looking often shows.
func asked(t *testing.T, url string, d time.Duration) int {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, pgtest.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	seen, before := map[string]bool{}, 0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		rows, _ := admin.Query(t.Context(), `select pid || ' ' || query_start from pg_stat_activity
			where datname = $1 and backend_type = 'client backend' and query_start is not null`, config.Database)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			seen[one] = true
		}
		if before == 0 {
			before = len(seen)
		}
	}
	return len(seen) - before
}
