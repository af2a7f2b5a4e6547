package eventstore_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// An event of an unknown type is refused, and the other appends of the batch are stored.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.store.Accept("thing.done")
	good, bad := write("thing-1", 0, "x", "y"), write("thing-2", 0, "x")
	bad.Writes[0].Events = append(bad.Writes[0].Events, eventstore.Event{Type: "thing.invented", Data: []byte(`{}`)})
	f.must(t, w, good)
	var unknown *eventstore.UnknownTypeError
	if _, err := f.store.Append(t.Context(), w, bad); !errors.As(err, &unknown) || unknown.Type != "thing.invented" {
		t.Errorf("Append: %v", err)
	}
	err := f.db.In(t.Context(), w, func(tx *pg.Tx) error {
		_, err := f.store.AppendIn(t.Context(), tx.Run, w, bad)
		return err
	})
	if !errors.As(err, &unknown) {
		t.Errorf("AppendIn: %v", err)
	}
	if n := len(f.log(t, w)); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// Waiting appends share a transaction, up to maxWeight bytes.
func TestBatchesAreWeighed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	var writers sync.WaitGroup
	heavy := strings.Repeat("x", 200_000)
	for i := range 100 {
		writers.Go(func() {
			if _, err := f.store.Append(context.Background(), w, write(fmt.Sprintf("thing-%d", i), 0, heavy)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait() // while the first is stored, the others come to wait
	var heaviest int
	if err := f.db.Read(t.Context(), w, pg.Exec(`select max(bytes) from (select sum(size) as bytes from event group by xmin::text) as batch`).Scan(&heaviest)); err != nil {
		t.Fatal(err)
	}
	if heaviest > 8<<20+200_000 {
		t.Errorf("a transaction of %d bytes", heaviest)
	}
	f.log(t, w)
}

// Two processes append to one workspace. Each looks when the other has moved the head. No transaction is rolled back for that, and no key is
// stored without its events.
func TestTwoProcessesRollNothingBack(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	w := a.workspace(t)
	b := process(t, a.url)
	stat := func() (commits, rollbacks int64) {
		conn, err := pgx.Connect(t.Context(), pgtest.Superuser(t, a.url))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := conn.QueryRow(t.Context(), `select xact_commit, xact_rollback from pg_stat_database where datname = current_database()`).
			Scan(&commits, &rollbacks); err != nil {
			t.Fatal(err)
		}
		return commits, rollbacks
	}
	_, before := stat()
	var writers sync.WaitGroup
	const each = 60
	for i := range 8 {
		writers.Go(func() {
			for n := range each {
				ap := write(fmt.Sprintf("thing-%d-%d", i, n), 0, "x")
				if n%3 == 0 {
					ap.Key = &eventstore.Key{Key: sha256.Sum256(fmt.Append(nil, i, n))}
				}
				if _, err := []*fixture{a, b}[i%2].store.Append(context.Background(), w, ap); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if n := len(a.log(t, w)); n != 8*each {
		t.Errorf("%d events, want %d", n, 8*each)
	}
	var keys, without int
	if err := a.db.Read(t.Context(), w, pg.Exec(`select count(*), count(*) filter (where not exists (select from event where position = first)) from dedupe`).
		Scan(&keys, &without)); err != nil || keys != 8*each/3 || without != 0 {
		t.Errorf("%d keys, %d without events, %v", keys, without, err)
	}
	a.db.Pool().Reset() // a connection reports its statistics when it ends
	b.db.Pool().Reset()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		commits, rollbacks := stat()
		if commits > 100 {
			if rollbacks-before > 3 { // the fixture's own queries of the catalogue
				t.Errorf("%d transactions were rolled back", rollbacks-before)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d commits are counted", commits)
		}
	}
}

// A process that goes silent while it holds the head row, as by SIGSTOP, delays other appends to that workspace by seconds. It does not use up
// the connections of other processes, and requests to other workspaces are not delayed.
func TestASilentHolder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w, neighbour := f.workspace(t), f.workspace(t)
	other := process(t, f.url)
	f.must(t, neighbour, write("thing-1", 0, "x"))
	release, held := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		err := f.db.In(context.Background(), w, func(tx *pg.Tx) error {
			err := tx.Run(context.Background(), pg.Exec(`select from head for update`))
			close(held)
			<-release
			return err
		})
		if err == nil {
			t.Error("a transaction that was idle for seconds is still there")
		}
	})
	<-held
	begun := time.Now()
	var waiting sync.WaitGroup
	for i := range 40 {
		waiting.Go(func() { // as log-ins do, which lock the head row in a transaction of their own
			err := other.db.In(context.Background(), w, func(tx *pg.Tx) error {
				_, err := other.store.AppendIn(context.Background(), tx.Run, w, write(fmt.Sprintf("login-%d", i), 0, "x"))
				return err
			})
			if outage, _ := pg.OutageOf(err); err != nil && outage != pg.Busy {
				t.Error(err)
			}
		})
		waiting.Go(func() {
			if _, err := other.store.Append(context.Background(), w, write(fmt.Sprintf("thing-%d", i), 0, "x")); err != nil {
				t.Error(err)
			}
		})
	}
	slowest := time.Duration(0)
	for version := 1; time.Since(begun) < 4*time.Second; version++ {
		asked := time.Now()
		other.must(t, neighbour, write("thing-1", version, "x"))
		slowest = max(slowest, time.Since(asked))
		time.Sleep(10 * time.Millisecond)
	}
	if slowest > 4*time.Second {
		t.Errorf("the neighbour waited for %s", slowest)
	}
	waiting.Wait()
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the others of the workspace waited for %s", took)
	}
	close(release)
	holder.Wait()
	f.log(t, w)
}
