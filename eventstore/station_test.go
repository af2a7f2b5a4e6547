package eventstore_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// station is the part of a process that handles signals: a pool, a bell, a store and a subscriber.
type station struct {
	db      *pg.DB
	bell    *eventstore.Bell
	store   *eventstore.Store
	signals *eventstore.Signals
}

func newStation(t testing.TB, url string) *station {
	t.Helper()
	return newStationOf(t, url, 16)
}

func newStationOf(t testing.TB, url string, conns int32) *station {
	t.Helper()
	db, err := pg.Open(context.Background(), url, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	bell := eventstore.NewBell()
	store := eventstore.New(db, bell)
	t.Cleanup(store.Close)
	return &station{db: db, bell: bell, store: store, signals: eventstore.NewSignals(db, bell, slog.New(slog.DiscardHandler))}
}

// work handles signals until the test ends or stop is called.
func (s *station) work(t testing.TB, handle func(context.Context, eventstore.Signal) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.signals.Run(ctx, handle); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
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
	until(t, "all signals are handled", func() bool { return s.waiting(t) == 0 })
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// receive waits for an element of c.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatalf("not within two minutes: %s", what)
		panic("unreachable")
	}
}

func superuser(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// super runs a statement as a superuser.
func super(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	conn := superuser(t, url)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
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
