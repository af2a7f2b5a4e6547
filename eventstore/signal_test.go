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

// A signal comes at once, and not only at the next look. An open write transaction, in this database or another one, delays nothing.
func TestSignalComesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	s := newStation(t, f.url)
	handled := make(chan time.Time, 100)
	s.work(t, func(context.Context, eventstore.Signal) error {
		handled <- time.Now()
		return nil
	})
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
		time.Sleep(50 * time.Millisecond) // past the rest between two rings, and the look after a handler
		s.append(t, w)
		committed := time.Now()
		took = append(took, receive(t, handled, "the handler").Sub(committed))
		s.settle(t)
	}
	slices.Sort(took)
	t.Logf("from the answer of an append to its handler: p50 %s, p95 %s, max %s", took[20], took[38], took[39])
	if took[20] > 400*time.Millisecond { // without a ring it would be half of the time between two looks
		t.Errorf("p50 is %s", took[20])
	}
}

// Signals that gather while a workspace waits, or is being handled, are handled together.
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

// A slow handler delays only its own workspace.
func TestSlowWorkspace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	slow, healthy := f.workspace(t), f.workspace(t)
	s := newStation(t, f.url)
	free := make(chan struct{})
	started, handled := make(chan int64, 10), make(chan int64, 100)
	s.work(t, func(_ context.Context, signal eventstore.Signal) error {
		if signal.Workspace == slow {
			started <- signal.Position
			<-free
			return nil
		}
		handled <- signal.Position
		return nil
	})
	s.append(t, slow)
	receive(t, started, "the slow one")
	for range 30 { // many signals wait for the slow workspace, and none of them occupies a handler
		s.append(t, slow)
	}
	for range 10 {
		p := s.append(t, healthy)
		for receive(t, handled, "the healthy one") < p {
		}
	}
	if n := s.waiting(t); n < 31 {
		t.Errorf("%d signals wait, want the slow one's 31", n)
	}
	close(free)
	if p := receive(t, started, "the slow one again"); p != 31 {
		t.Errorf("the slow one goes on at position %d, want 31", p)
	}
	s.settle(t)
}

// With a single handler, a workspace that always has new signals does not keep the others from their turn.
func TestBusyWorkspace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	busy := f.workspace(t) // the first in the order of ids
	others := []pg.Workspace{f.workspace(t), f.workspace(t), f.workspace(t)}
	s := newStationOf(t, f.url, 4)
	s.append(t, busy)
	for _, w := range others {
		s.append(t, w)
	}
	between := make(chan int, len(others))
	n := 0
	s.work(t, func(_ context.Context, signal eventstore.Signal) error {
		if signal.Workspace == busy {
			n++
			s.append(t, busy)
			return nil
		}
		between <- n
		return nil
	})
	for range others {
		if n := receive(t, between, "the others"); n > 2 {
			t.Errorf("another workspace had its turn after %d signals of the busy one", n)
		}
	}
}

// A workspace whose handler fails, by an error or a panic, has a longer pause each time, also in a process that is started later. Other
// workspaces go on.
func TestFailingWorkspace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	poisoned, healthy := f.workspace(t), f.workspace(t)
	type try struct {
		eventstore.Signal
		at time.Time
	}
	tried, healed, handled := make(chan try, 100), make(chan int64, 10), make(chan int64, 100)
	handle := func(_ context.Context, signal eventstore.Signal) error {
		switch {
		case signal.Workspace == healthy:
			handled <- signal.Position
			return nil
		case signal.Position > 20:
			healed <- signal.Position
			return nil
		}
		tried <- try{signal, time.Now()}
		if signal.Attempts == 1 {
			panic("poisoned")
		}
		return errors.New("poisoned")
	}
	first := newStation(t, f.url)
	for range 20 {
		first.append(t, poisoned)
	}
	stop := first.work(t, handle)
	before := receive(t, tried, "the first try")
	for n := 1; n <= 4; n++ {
		if n == 3 {
			until(t, "the failure is stored", func() bool { return first.waiting(t) == 1 })
			stop()
			newStation(t, f.url).work(t, handle)
		}
		p := first.append(t, healthy)
		for receive(t, handled, "the healthy one") < p {
		}
		next := receive(t, tried, "the next try")
		if pause, want := next.at.Sub(before.at), 100*time.Millisecond<<n; next.Attempts != n || next.Position != 20 || pause < want || pause > want+2*time.Second {
			t.Errorf("try %d came after %s with %+v, want %s", n, pause, next.Signal, want)
		}
		before = next
	}
	until(t, "one signal stands for those that failed", func() bool { return first.waiting(t) == 1 })
	first.append(t, poisoned)
	if p := receive(t, healed, "the healed one"); p != 21 {
		t.Errorf("handled %d, want 21", p)
	}
	first.settle(t)
}

// The signals of a workspace that is gone, or that never existed, are deleted.
func TestSignalsOfGoneWorkspace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	erased, there := f.workspace(t), f.workspace(t)
	s := newStation(t, f.url)
	super(t, f.url, `update kluis.workspace set status = 'erased' where id = $1`, erased.ID)
	for _, id := range []uuid.UUID{erased.ID, erased.ID, uuid.New(), there.ID} {
		super(t, f.url, `insert into kluis.signal (workspace_id, position) values ($1, 1)`, id)
	}
	s.work(t, func(context.Context, eventstore.Signal) error { return errors.New("no such schema") })
	until(t, "those of workspaces that are gone", func() bool { return s.waiting(t) == 1 })
	var left uuid.UUID
	if err := s.db.Pool().QueryRow(t.Context(), `select workspace_id from kluis.signal`).Scan(&left); err != nil || left != there.ID {
		t.Errorf("%s is left, %v", left, err)
	}
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
			var head int64 // the position that a catch-up would reach
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
		t.Error("one of the two processes handled no signal")
	}
}

// When a process dies while it handles a signal, the signal is handled by another one.
func TestSignalSurvivesItsHandler(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	first := newStation(t, f.url+"&application_name=first")
	second := newStation(t, f.url)
	started, ended, handled := make(chan int64, 10), make(chan struct{}, 10), make(chan int64, 10)
	first.signals.SetGrace(0)
	first.signals.SetBeat(20*time.Millisecond, time.Minute)
	stop := first.work(t, func(ctx context.Context, signal eventstore.Signal) error {
		started <- signal.Position
		<-ctx.Done()
		ended <- struct{}{}
		return ctx.Err()
	})
	first.append(t, w)
	receive(t, started, "the first process")

	// Killed: the connections are gone, and the context of the handler ends.
	super(t, f.url, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'first'`)
	receive(t, ended, "the end of the handler that has lost the lock")
	receive(t, started, "the signal again, after the connection was lost")

	// Stopped: the handler breaks off.
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

// A handler has the lock as long as its process shows signs of life, also when the server ends idle transactions soon. A process that stands
// still loses the lock.
func TestLockEndsWithSignsOfLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	super(t, f.url, `do $$ begin execute format('alter database %I set idle_in_transaction_session_timeout = %L', current_database(), '100ms'); end $$`)
	for what, c := range map[string]struct {
		beat, idle time.Duration
		again      bool
	}{
		"at work":      {100 * time.Millisecond, 500 * time.Millisecond, false},
		"stands still": {time.Hour, 500 * time.Millisecond, true},
	} {
		w := f.workspace(t)
		one, two := newStation(t, f.url), newStation(t, f.url)
		one.signals.SetBeat(c.beat, c.idle)
		started, handled, free := make(chan struct{}, 10), make(chan struct{}, 10), make(chan struct{})
		one.append(t, w)
		stopOne := one.work(t, func(context.Context, eventstore.Signal) error {
			started <- struct{}{}
			<-free
			return nil
		})
		receive(t, started, "the handler")
		stopTwo := two.work(t, func(context.Context, eventstore.Signal) error {
			handled <- struct{}{}
			return nil
		})
		if c.again {
			receive(t, handled, "the handler of the other process")
		} else {
			select {
			case <-handled:
				t.Errorf("%s: two handlers at once", what)
			case <-time.After(2 * time.Second): // a look of the other, and more
			}
		}
		close(free)
		two.settle(t)
		stopOne()
		stopTwo()
	}
}

// After the end of the context a handler at work may finish, and its result counts.
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
}

// A look reads a few pages, and a few more for each workspace that it skips, for any number of waiting signals and with any statistics of
// the table.
func TestLookWithManySignals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn, handler := superuser(t, f.url), superuser(t, f.url)
	run := func(conn *pgx.Conn, sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const insert = `insert into kluis.signal (workspace_id, position, not_before)
		select lpad(to_hex(w), 32, '0')::uuid, s, case when w <= $3 then now() + interval '1 hour' end
		from generate_series(1, $2::int) s, generate_series(1, $1::int) w`
	run(conn, `alter table kluis.signal set (autovacuum_enabled = off)`)
	for what, c := range map[string]struct {
		workspaces, signals, alone int
		emptied                    bool // the statistics say that the table is empty
	}{
		"many workspaces with some each":         {2_000, 100, 0, false},
		"a workspace with many, and another":     {2, 100_000, 0, false},
		"a table that seems small":               {3_000, 1, 0, false},
		"very many workspaces":                   {200_000, 1, 0, false},
		"many workspaces, nearly all left alone": {2_000, 100, 1_998, false},
		"a table that was analyzed when empty":   {2_000, 100, 1_998, true},
	} {
		for _, then := range []string{`set plan_cache_mode = force_custom_plan`, `set plan_cache_mode = force_generic_plan`, `analyze kluis.signal`} {
			run(conn, `truncate kluis.signal`)
			if c.emptied { // and many empty pages are left
				run(conn, insert, c.workspaces, c.signals, c.alone)
				run(conn, `delete from kluis.signal`)
				run(conn, `vacuum (truncate off, analyze) kluis.signal`) // without this a look would read dead rows, which is another matter
			}
			run(conn, insert, c.workspaces, c.signals, c.alone)
			run(conn, then)
			if _, err := eventstore.Look(t.Context(), handler); err != nil { // takes the first
				t.Fatal(err)
			}
			cost, err := eventstore.Look(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			run(handler, `rollback`)
			run(conn, `rollback`)
			t.Logf("%s, %s: %+v", what, then, cost)
			if cost.Found != 1 || cost.Pages > 100+12*c.alone {
				t.Errorf("%s, %s: %+v", what, then, cost)
			}
		}
	}
}

// An idle process sends one query a second, for any number of workspaces.
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
	var n int
	for range 10 { // on a busy machine the last look after the work may be late
		if n = asked(t, f.url, 3*time.Second); n > 0 && n <= 5 {
			return
		}
	}
	t.Errorf("asked %d times in 3 idle seconds", n)
}
