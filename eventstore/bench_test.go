package eventstore_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// BenchmarkAppend compares appends with the rate of plain one-row-per-commit inserts, without any order or
// check, through the same pool on the same server, in the same run: the two take turns, and the ratio is
// the median of the rounds. Each append is a command as the program sends it: one event on a stream of its
// own, and a guard on the roster.
func BenchmarkAppend(b *testing.B) {
	f := newFixture(b)
	plain := plainTable(b, f)
	var workspaces []pg.Workspace
	for range 256 {
		w := f.workspace(b)
		if _, err := f.store.Append(context.Background(), w, write("roster", 0, "founded")); err != nil {
			b.Fatal(err)
		}
		workspaces = append(workspaces, w)
	}
	for _, c := range []struct{ workspaces, writers int }{{1, 1}, {1, 32}, {1, 128}, {256, 256}} {
		b.Run(fmt.Sprintf("workspaces=%d/writers=%d", c.workspaces, c.writers), func(b *testing.B) {
			append := func(writer int) error {
				a := write("task-"+uuid.NewString(), 0, "Something that somebody has to do before the end of the week")
				a.Actor, a.Guards = uuid.New(), []eventstore.Guard{{Stream: "roster", Version: 1}}
				_, err := f.store.Append(context.Background(), workspaces[writer%c.workspaces], a)
				return err
			}
			for b.Loop() {
				ratio, ours, theirs := compare(b, c.writers, append, plain)
				b.ReportMetric(ours, "appends/s")
				b.ReportMetric(theirs, "inserts/s")
				b.ReportMetric(ratio, "x")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// plainTable gives the baseline: a table with the columns and the indexes of event.
func plainTable(b *testing.B, f *fixture) func(int) error {
	b.Helper()
	ctx := context.Background()
	if err := f.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `create schema plain; create table plain.event (position bigint generated always as identity primary key,
			id uuid not null, stream text not null, version integer not null, type text not null, at timestamptz not null, actor uuid,
			data json not null, unique (stream, version)); create index on plain.event (at)`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	pool := f.db.Pool()
	return func(int) error {
		_, err := pool.Exec(ctx, `insert into plain.event (id, stream, version, type, at, actor, data) values ($1, $2, 1, 'thing.done', $3, $4, $5)`,
			uuid.New(), "task-"+uuid.NewString(), time.Now(), uuid.New(), string(event("Something that somebody has to do before the end of the week").Data))
		return err
	}
}

// compare lets a and b take turns, and gives the median ratio of their rates, and their median rates.
func compare(t testing.TB, writers int, a, b func(writer int) error) (ratio, rateA, rateB float64) {
	t.Helper()
	turn := 2 * time.Second
	if text := os.Getenv("KLUIS_BENCH_TURN"); text != "" {
		turn, _ = time.ParseDuration(text)
	}
	rate(t, writers, turn/2, a) // warm
	rate(t, writers, turn/2, b)
	var ratios, as, bs []float64
	for range 5 {
		x, y := rate(t, writers, turn, a), rate(t, writers, turn, b)
		ratios, as, bs = append(ratios, x/y), append(as, x), append(bs, y)
	}
	return median(ratios), median(as), median(bs)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// rate is how many times a second writers do something, all at once.
func rate(t testing.TB, writers int, turn time.Duration, do func(writer int) error) float64 {
	t.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range writers {
		wg.Go(func() {
			for time.Since(start) < turn {
				if err := do(i); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}
