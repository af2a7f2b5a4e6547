package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// superuser runs SQL in a workspace's schema with rights that the application lacks.
func (f *fixture) superuser(t testing.TB, w pg.Workspace, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), `set search_path = `+w.Schema()+`; `+sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (f *fixture) must(t testing.TB, w pg.Workspace, a eventstore.Append) eventstore.Receipt {
	t.Helper()
	receipt, err := f.store.Append(context.Background(), w, a)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// moved gives the version of the stream at which an append was refused.
func (f *fixture) moved(t testing.TB, w pg.Workspace, a eventstore.Append) (actual int) {
	t.Helper()
	_, err := f.store.Append(context.Background(), w, a)
	var moved *eventstore.MovedError
	if !errors.As(err, &moved) {
		t.Fatalf("%v, want a MovedError", err)
	}
	return moved.Actual
}

// The log goes back under a running writer, as by a restore or a failover to a standby that lags. The writer's memory is then of another
// past, and no append is accepted on it.
func TestTheLogGoesBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	guarded := func(stream string, version int) eventstore.Append {
		a := write("thing-2", 0, "x")
		a.Guards = []eventstore.Guard{{Stream: stream, Version: version}}
		return a
	}
	begin := func() pg.Workspace {
		w := f.workspace(t)
		for i := range 5 {
			f.must(t, w, write("thing-1", i, "x"))
		}
		return w
	}
	const back = `delete from event where position > 2; update head set position = 2, last = (select id from event where position = 2)`

	w := begin()
	f.superuser(t, w, back)
	if r := f.must(t, w, write("thing-2", 0, "x")); r.First != 3 {
		t.Errorf("a new stream has position %d, want 3", r.First)
	}
	f.log(t, w)

	w = begin()
	f.superuser(t, w, back)
	if actual := f.moved(t, w, write("thing-1", 5, "x")); actual != 2 {
		t.Errorf("version %d, want 2", actual)
	}
	f.must(t, w, write("thing-1", 2, "x"))
	f.log(t, w)

	w = begin()
	f.superuser(t, w, back)
	if actual := f.moved(t, w, guarded("thing-1", 5)); actual != 2 {
		t.Errorf("a guard of another past: version %d, want 2", actual)
	}

	// Other writers went on from there, and the head is at the position of this writer's memory, with another event.
	w = begin()
	f.superuser(t, w, back+`; insert into event (position, id, stream, version, type, at, data)
		select 2 + n, gen_random_uuid(), 'thing-3', n, 'thing.done', now(), '{}' from generate_series(1, 3) n;
		update head set position = 5, last = (select id from event where position = 5)`)
	if actual := f.moved(t, w, guarded("thing-1", 5)); actual != 2 {
		t.Errorf("a guard of another past at the same position: version %d, want 2", actual)
	}
	f.must(t, w, write("thing-3", 3, "x"))
	if n := len(f.log(t, w)); n != 6 {
		t.Errorf("%d events, want 6", n)
	}
}

// One new epoch begins before the next append to a log that went back, also when other writers went on, and also in a process that has not
// appended for a while. A process that never saw the lost events begins none.
func TestAnEpochBeginsWhenTheLogWentBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := process(t, f.url)
	w := f.workspace(t)
	var told []eventstore.WentBackError
	fails := true
	for _, p := range []*fixture{f, other} {
		p.store.OnBack(func(_ context.Context, _ pg.Workspace, lost *eventstore.WentBackError) error {
			if fails = !fails; !fails {
				return io.EOF // the connection broke, the first time
			}
			told = append(told, *lost)
			f.superuser(t, w, `update head set epoch = epoch + 1`)
			return nil
		})
	}
	f.must(t, w, write("thing-1", 0, "x"))
	other.must(t, w, write("thing-1", 1, "x"))
	f.must(t, w, write("thing-1", 2, "x"))
	f.superuser(t, w, `delete from event where position > 1; update head set position = 1, last = (select id from event where position = 1)`)
	process(t, f.url).must(t, w, write("thing-2", 0, "x"))
	f.moved(t, w, write("thing-3", 0, "x"))
	other.must(t, w, write("thing-3", 0, "x"))
	f.must(t, w, write("thing-3", 1, "x"))
	if want := []eventstore.WentBackError{{Epoch: 1, Had: 3, Has: 2}}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if n := len(f.log(t, w)); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
	if _, err := f.store.EachOf(t.Context(), w, 1, 1, func(eventstore.Record) error { return nil }); !errors.Is(err, eventstore.ErrOtherEpoch) {
		t.Errorf("reading the first epoch: %v", err)
	}
}

// A fault of ours while a batch is stored is the error of what was in it. The appends behind it are stored.
func TestALeaderThatPanics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.store.OnBack(func(context.Context, pg.Workspace, *eventstore.WentBackError) error { panic("a fault of ours") })
	f.must(t, w, write("thing-1", 0, "x"))
	f.must(t, w, write("thing-1", 1, "x"))
	f.superuser(t, w, `delete from event where position > 1; update head set position = 1, last = (select id from event where position = 1)`)
	if _, err := f.store.Append(t.Context(), w, write("thing-1", 2, "x")); err == nil || !strings.Contains(err.Error(), "a fault of ours") {
		t.Errorf("%v", err)
	}
	f.store.OnBack(func(context.Context, pg.Workspace, *eventstore.WentBackError) error {
		f.superuser(t, w, `update head set epoch = epoch + 1`)
		return nil
	})
	f.moved(t, w, write("thing-1", 2, "x"))
	f.must(t, w, write("thing-1", 1, "x"))
}

// Times are the database's and never decrease. Appends are refused while the head is further ahead than two right clocks can differ.
func TestAHeadThatIsAhead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.must(t, w, write("thing-1", 0, "x"))
	f.superuser(t, w, `update head set at = now() + interval '2 minutes'`) // a standby took over
	r := f.must(t, w, write("thing-1", 1, "x"))
	if ahead := time.Until(r.Records[0].At); ahead < time.Minute || ahead > 3*time.Minute {
		t.Errorf("the event is %s ahead, want the time of the event before", ahead)
	}
	f.log(t, w)
	f.superuser(t, w, `update head set at = now() + interval '1 year'`)
	for name, from := range map[string]*fixture{"who knows the log": f, "who does not": process(t, f.url)} {
		_, err := from.store.Append(t.Context(), w, write("thing-1", 2, "x"))
		var clock *eventstore.ClockError
		outage, _ := pg.OutageOf(err)
		if !errors.As(err, &clock) || clock.Ahead < 364*24*time.Hour || outage != pg.ClockWrong {
			t.Errorf("%s: %v, outage %q", name, err, outage)
		}
	}
	f.superuser(t, w, `update head set at = (select max(at) from event)`)
	f.must(t, w, write("thing-1", 2, "x"))
	if n := len(f.log(t, w)); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// The version of a stream stays when its events are pruned, in every process, and the next event continues from it.
func TestVersionsOutliveTheirEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	for i := range 5 {
		f.must(t, w, write("thing-1", i, "x"))
		f.must(t, w, write("thing-2", i, "x"))
	}
	// All of thing-1 and all but the last of thing-2, with one event for the pruning itself. The baseline of thing-3 is behind the horizon: it does not count.
	f.superuser(t, w, `delete from event where position <= 9;
		insert into baseline (model, id, stream, version, position, state) values
			('', gen_random_uuid(), 'thing-1', 5, 9, '{}'), ('', gen_random_uuid(), 'thing-2', 4, 9, '{}'), ('', gen_random_uuid(), 'thing-3', 7, 10, '{}');
		insert into event (position, id, stream, version, type, at, data) values (11, gen_random_uuid(), 'log', 1, 'log.pruned', now(), '{}');
		update head set pruned = 9, position = 11, last = (select id from event where position = 11)`)
	for i, from := range []*fixture{f, process(t, f.url), process(t, f.url)} {
		for stream, version := range map[string]int{"thing-1": 5 + i, "thing-2": 5 + i, "thing-3": i, "log": 1} {
			if actual := from.moved(t, w, write(stream, version+1, "x")); actual != version {
				t.Errorf("process %d: %s is at %d, want %d", i, stream, actual, version)
			}
			if version > 0 {
				from.moved(t, w, write(stream, 0, "begun anew"))
			}
			if stream != "log" {
				from.must(t, w, write(stream, version, "x"))
			}
		}
	}
	next := int64(10)
	if _, err := f.store.Each(t.Context(), w, 0, func(r eventstore.Record) error {
		if r.Position != next {
			return fmt.Errorf("position %d, want %d", r.Position, next)
		}
		next++
		return nil
	}); err != nil || next != 21 {
		t.Errorf("%v, the next is %d", err, next)
	}
}
