package eventstore_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A delivery that ends before the lease is committed gives the lease back after the commit, and the receiver is leased again at once.
func TestLeaseBeforeItsCommit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w, receiver := f.workspace(t), uuid.New()
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), `create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.2); return null; end';
		create constraint trigger slow after update on kluis.delivery deferrable initially deferred for each row when (new.lease is not null) execute function slow()`); err != nil {
		t.Fatal(err)
	}
	dues := eventstore.NewDues(newStation(t, f.url).db, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	taken := make(chan bool, 10)
	running.Go(func() {
		if err := dues.Run(ctx, func() eventstore.Room { return eventstore.Room{Any: true, Failing: true} }, func(due eventstore.Due) {
			running.Go(func() {
				held, err := dues.Held(ctx, due)
				if err == nil {
					err = dues.PutBack(ctx, due, 0, 0)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				taken <- held
			})
		}); err != nil {
			t.Error(err)
		}
	})
	if err := dues.Push(t.Context(), w, []uuid.UUID{receiver}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !receive(t, taken, "the lease") {
			t.Error("a committed lease is not held")
		}
	}
	if held, err := dues.Held(t.Context(), eventstore.Due{Workspace: w, Receiver: receiver, Lease: uuid.New()}); err != nil || held {
		t.Errorf("an earlier lease is held: %t, %v", held, err)
	}
}
