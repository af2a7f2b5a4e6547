package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fixture is a migrated database with one process on it.
type fixture struct {
	url     string
	db      *pg.DB
	tenancy *tenancy.Tenancy
	store   *eventstore.Store
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	url := pgtest.Clone(t, "eventstore", func(url string) error {
		db, err := pg.Open(context.Background(), url, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
		if err != nil {
			return err
		}
		return directory.Migrate(context.Background(), nil)
	})
	return process(t, url)
}

// process is one more process on the database: a pool and a store of its own.
func process(t testing.TB, url string) *fixture {
	t.Helper()
	db, err := pg.Open(context.Background(), url, 16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	store := eventstore.New(db, eventstore.NewBell())
	t.Cleanup(store.Close)
	return &fixture{url: url, db: db, tenancy: directory, store: store}
}

func (f *fixture) workspace(t testing.TB) pg.Workspace {
	t.Helper()
	nothing := func(pgx.Tx) error { return nil }
	id := uuid.Must(uuid.NewV7())
	if err := f.tenancy.Provision(context.Background(), id, "w-"+id.String(), "be", nothing, nothing); err != nil {
		t.Fatal(err)
	}
	return pg.Workspace{ID: id}
}

func event(text string) eventstore.Event {
	data, _ := json.Marshal(map[string]string{"text": text})
	return eventstore.Event{Type: "thing.done", Data: data}
}

func write(stream string, expected int, texts ...string) eventstore.Append {
	w := eventstore.Write{Stream: stream, Expected: expected}
	for _, text := range texts {
		w.Events = append(w.Events, event(text))
	}
	return eventstore.Append{Writes: []eventstore.Write{w}}
}

// log reads the whole log and checks its invariants: positions without gaps that end at the head, versions without gaps in each stream, times
// that never decrease.
func (f *fixture) log(t testing.TB, w pg.Workspace) []eventstore.Record {
	t.Helper()
	var records []eventstore.Record
	if _, err := f.store.Each(context.Background(), w, 1, func(r eventstore.Record) error {
		records = append(records, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var head, count int64
	if err := f.db.Read(context.Background(), w,
		pg.Exec(`select position from head`).Scan(&head), pg.Exec(`select count(*) from event`).Scan(&count)); err != nil {
		t.Fatal(err)
	}
	if head != int64(len(records)) || count != head {
		t.Fatalf("head is %d, %d events, %d read", head, count, len(records))
	}
	versions := map[string]int{}
	for i, r := range records {
		versions[r.Stream]++
		if r.Position != int64(i+1) || r.Version != versions[r.Stream] {
			t.Fatalf("record %d has position %d and version %d of %s, want version %d", i+1, r.Position, r.Version, r.Stream, versions[r.Stream])
		}
		if i > 0 && r.At.Before(records[i-1].At) {
			t.Fatalf("position %d is at %s, before its predecessor", r.Position, r.At)
		}
	}
	return records
}

func TestAppendStoresExactlyWhatWasWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	actor := uuid.Must(uuid.NewV7())
	data := json.RawMessage(`{"b":1,"a":"é\u00e9<>","n":1.10}`) // order, escapes and digits must survive
	receipt, err := f.store.Append(t.Context(), w, eventstore.Append{Actor: actor, Writes: []eventstore.Write{
		{Stream: "thing-1", Events: []eventstore.Event{{Type: "thing.begun", Data: data}, event("two")}},
		{Stream: "thing-2", Events: []eventstore.Event{event("three")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if receipt.First != 1 || receipt.Last != 3 || len(receipt.Records) != 3 {
		t.Fatalf("receipt %+v", receipt)
	}
	for i, r := range f.log(t, w) {
		if got, want := string(r.AppendLine(nil)), string(receipt.Records[i].AppendLine(nil)); got != want {
			t.Errorf("read   %s\nstored %s", got, want)
		}
	}
	var line map[string]any
	if err := json.Unmarshal(receipt.Records[0].AppendLine(nil), &line); err != nil || line["actor"] != actor.String() {
		t.Errorf("line %v, %v", line, err)
	}
}

// A trigger that somebody has put on the table of events keeps some of them out. No part of such an append is stored, and the log goes on without a gap.
func TestAppendStoresAllOrNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	admin := superuser(t, f.url)
	if _, err := f.store.Append(t.Context(), w, write("thing-1", 0, "before")); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(t.Context(), strings.ReplaceAll(`create function %.leave_out() returns trigger language plpgsql as $$ begin if new.data->>'text' = 'left out' then return null; end if; return new; end $$;
		create trigger leave_out before insert on %.event for each row execute function %.leave_out()`, "%", w.Schema())); err != nil {
		t.Fatal(err)
	}
	keyed := write("thing-4", 0, "left out")
	keyed.Key = &eventstore.Key{Key: [32]byte{1}}
	for name, a := range map[string]eventstore.Append{
		"one event":            write("thing-2", 0, "left out"),
		"one of several":       write("thing-3", 0, "a", "left out", "b"),
		"one event with a key": keyed,
	} {
		if receipt, err := f.store.Append(t.Context(), w, a); err == nil || !strings.Contains(err.Error(), "look for triggers") {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
	}
	if _, err := f.store.Append(t.Context(), w, write("thing-1", 1, "behind")); err != nil {
		t.Fatal(err)
	}
	if n := len(f.log(t, w)); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func TestAppendRefusesWhatMoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	must := func(a eventstore.Append) {
		t.Helper()
		if _, err := f.store.Append(t.Context(), w, a); err != nil {
			t.Fatal(err)
		}
	}
	must(write("roster", 0, "a", "b"))
	guarded := func(version int) eventstore.Append {
		a := write("thing-1", 0, "x")
		a.Guards = []eventstore.Guard{{Stream: "roster", Version: version}}
		return a
	}
	for name, a := range map[string]eventstore.Append{
		"a guard that is behind":     guarded(1),
		"a guard that is ahead":      guarded(3),
		"a stream that is there":     write("roster", 0, "x"),
		"a version that is behind":   write("roster", 1, "x"),
		"a version beyond the last":  write("roster", 3, "x"),
		"a version of a new stream":  write("other", 1, "x"),
		"one good write and one bad": {Writes: []eventstore.Write{write("new", 0, "x").Writes[0], write("roster", 0, "x").Writes[0]}},
	} {
		_, err := f.store.Append(t.Context(), w, a)
		if moved := new(eventstore.MovedError); !errors.As(err, &moved) {
			t.Errorf("%s: %v, want a MovedError", name, err)
		}
	}
	must(guarded(2))
	if n := len(f.log(t, w)); n != 3 {
		t.Errorf("%d events, want 3: a refused append stored something", n)
	}
}

func TestOneBadAppendSpoilsNoNeighbour(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			a := write(fmt.Sprintf("thing-%d", i), 0, "x")
			switch i % 10 {
			case 3:
				a.Writes[0].Expected = 7
			case 6:
				a.Writes[0].Events[0].Data = json.RawMessage(`{"not":json}`) // Postgres refuses the whole statement
			}
			_, errs[i] = f.store.Append(context.Background(), w, a)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if bad := i%10 == 3 || i%10 == 6; bad != (err != nil) {
			t.Errorf("append %d: %v", i, err)
		}
	}
	if n := len(f.log(t, w)); n != 40 {
		t.Errorf("%d events, want 40", n)
	}
}

// Two processes write the same workspace at once; each round every writer wants the same streams.
func TestTwoProcessesKeepOneOrder(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	w := a.workspace(t)
	b := process(t, a.url)
	const writers, each = 8, 40
	stored := make([][]eventstore.Record, 2*writers)
	var wg sync.WaitGroup
	for i := range stored {
		f := []*fixture{a, b}[i%2]
		wg.Go(func() {
			for n := range each {
				stream := fmt.Sprintf("thing-%d", n%5)
				for version := 0; ; {
					receipt, err := f.store.Append(context.Background(), w, write(stream, version, fmt.Sprint(i, " ", n)))
					if moved := new(eventstore.MovedError); errors.As(err, &moved) {
						version = moved.Actual
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					stored[i] = append(stored[i], receipt.Records...)
					break
				}
			}
		})
	}
	wg.Wait()
	log := a.log(t, w)
	if len(log) != 2*writers*each {
		t.Fatalf("%d events, %d were acknowledged", len(log), 2*writers*each)
	}
	for _, records := range stored {
		for _, r := range records {
			if log[r.Position-1].ID != r.ID {
				t.Errorf("position %d was acknowledged for %s and holds %s", r.Position, r.ID, log[r.Position-1].ID)
			}
		}
	}
}

// In each of 50 rounds 16 racers in two processes append to one new stream, and one of them wins.
func TestOneWinnerPerName(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	w := a.workspace(t)
	b := process(t, a.url)
	for round := range 50 {
		var mu sync.Mutex
		won := 0
		var wg sync.WaitGroup
		for racer := range 16 {
			wg.Go(func() {
				f := []*fixture{a, b}[racer%2]
				if _, err := f.store.Append(context.Background(), w, write(fmt.Sprintf("name-%d", round), 0, "mine")); err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Fatalf("round %d: %d winners", round, won)
		}
	}
}

// The server cuts every connection while writers append, again whenever one of them was answered. Each acknowledged append is stored once, and so is
// each append whose answer was lost.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	var wg sync.WaitGroup
	const writers, each = 8, 60
	var answered atomic.Int64
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				if _, err := f.store.Append(context.Background(), w, write(fmt.Sprintf("thing-%d", i), n, fmt.Sprint(n))); err != nil {
					t.Errorf("writer %d, event %d: %v", i, n, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for cuts, before := 0, int64(-1); ; {
		select {
		case <-done:
			if n := len(f.log(t, w)); n != writers*each {
				t.Errorf("%d events after %d cuts, want %d", n, cuts, writers*each)
			}
			return
		case <-time.After(30 * time.Millisecond):
			now := answered.Load()
			if now == before {
				continue // on a slow machine a new connection needs longer than this
			}
			before = now
			cuts++
			if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'kluis' and datname = current_database()`); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestHistoryCannotBeRewritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	if _, err := f.store.Append(t.Context(), w, write("thing-1", 0, "x")); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`update event set type = 'x'`, `delete from event`, `truncate event`, `drop table event`, `alter table event disable trigger all`, `create table x ()`} {
		if err := f.db.Do(t.Context(), w, pg.Exec(sql)); !pg.Is(err, pg.AccessDenied) {
			t.Errorf("%s: %v, want denied", sql, err)
		}
	}
}

// An open write transaction in another database or in another workspace delays nothing.
func TestOpenTransactionElsewhereDelaysNothing(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	w, busy := f.workspace(t), f.workspace(t)
	hold(t, other.db, other.workspace(t))
	hold(t, f.db, busy)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := f.store.Append(ctx, w, write("thing-1", 0, "x")); err != nil {
		t.Fatal(err)
	}
	if n := len(f.log(t, w)); n != 1 {
		t.Errorf("%d events are visible, want 1", n)
	}
}

func TestReading(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	var middle time.Time
	for i := range 10 {
		r, err := f.store.Append(t.Context(), w, write(fmt.Sprintf("thing-%d", i%2), i/2, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			middle = r.Records[0].At
		}
		time.Sleep(time.Millisecond)
	}
	positions := func(q func(*[]eventstore.Record) pg.Statement) (all []int64) {
		t.Helper()
		var records []eventstore.Record
		if err := f.db.Read(t.Context(), w, q(&records)); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			all = append(all, r.Position)
		}
		return all
	}
	for name, c := range map[string]struct {
		query func(*[]eventstore.Record) pg.Statement
		want  []int64
	}{
		"after": {func(r *[]eventstore.Record) pg.Statement { return eventstore.After(r, 7) }, []int64{8, 9, 10}},
		"range": {func(r *[]eventstore.Record) pg.Statement { return eventstore.Range(r, 2, 3) }, []int64{2, 3}},
		"stream": {func(r *[]eventstore.Record) pg.Statement {
			return eventstore.Streams(r, []string{"thing-1"}, nil, 10, nil)
		}, []int64{2, 4, 6, 8, 10}},
		"stream as of": {func(r *[]eventstore.Record) pg.Statement {
			return eventstore.Streams(r, []string{"thing-1"}, nil, 10, &middle)
		}, []int64{2, 4, 6}},
	} {
		if got := positions(c.query); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// hold keeps a write transaction in a workspace open until the test ends.
func hold(t *testing.T, db *pg.DB, w pg.Workspace) {
	t.Helper()
	release, held, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- db.In(context.Background(), w, func(tx *pg.Tx) error {
			err := tx.Run(context.Background(), pg.Exec(`update head set position = position`))
			close(held)
			<-release
			return err
		})
	}()
	<-held
	t.Cleanup(func() {
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
