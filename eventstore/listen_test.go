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

// connected gives a bell that is connected and listens: it rings for all workspaces at that moment.
func connected(t *testing.T, url string) *eventstore.Bell {
	t.Helper()
	s := newStation(t, url)
	all := s.bell.Of(pg.Workspace{ID: uuid.New()})
	ctx, cancel := context.WithCancel(context.Background())
	var line sync.WaitGroup
	line.Go(func() {
		if err := s.bell.Connect(ctx, s.db, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); line.Wait() })
	receive(t, all, "the line is up")
	return s.bell
}

func silent(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
		t.Errorf("rang: %s", what)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestBellReachesOtherProcesses(t *testing.T) {
	t.Parallel()
	url := newFixture(t).url
	one, two := connected(t, url), connected(t, url)
	w, other := pg.Workspace{ID: uuid.New()}, pg.Workspace{ID: uuid.New()}
	anybody, mine, others := two.Any(), two.Of(w), two.Of(other)

	one.Ring(w, 0)
	silent(t, anybody, "with nothing stored")
	one.Ring(w, 1)
	own := one.Any() // after the ring: a ring from here on would be the echo
	receive(t, anybody, "two, any workspace")
	receive(t, mine, "two, this workspace")
	silent(t, others, "two, another workspace")
	silent(t, own, "one, by its own notification")

	begun := time.Now()
	mine = two.Of(w)
	one.Ring(w, 2)
	receive(t, mine, "two again")
	t.Logf("from one process to another: %s", time.Since(begun))

	for range 1000 { // more than fit
		one.Ring(pg.Workspace{ID: uuid.New()}, 1)
	}
	receive(t, others, "two, for all workspaces")
	if err := one.Connect(t.Context(), nil, nil); err == nil {
		t.Error("connected twice")
	}
}

// Rings within a short time make few notifications, and each workspace that was rung for is in one of them.
func TestRingsCollapse(t *testing.T) {
	t.Parallel()
	url := newFixture(t).url
	bell := connected(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `listen kluis_signal`); err != nil {
		t.Fatal(err)
	}
	w := pg.Workspace{ID: uuid.New()}
	begun := time.Now()
	for time.Since(begun) < 200*time.Millisecond {
		bell.Ring(w, 1)
	}
	n := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := conn.WaitForNotification(ctx)
		cancel()
		if err != nil {
			break
		}
		n++
	}
	if n < 2 || n > 42 {
		t.Errorf("%d notifications in 200 ms, want at most one in 5 ms", n)
	}
}

// When the connection breaks, the bell connects again and rings for all workspaces, because it may have missed notifications.
func TestBellConnectsAnew(t *testing.T) {
	t.Parallel()
	url := newFixture(t).url
	one, two := connected(t, url), connected(t, url)
	all := two.Of(pg.Workspace{ID: uuid.New()})
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	receive(t, all, "all, after the connection was lost")
	w := pg.Workspace{ID: uuid.New()}
	mine := two.Of(w)
	one.Ring(w, 1) // on a broken connection of the pool: the notification is sent again
	receive(t, mine, "two, after the connection was lost")
}
