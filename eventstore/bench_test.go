package eventstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkAppend compares appends with the rate of plain one-row-per-commit inserts, without any order or
// check, through as many connections on the same server, in the same run. The two take turns, and the ratio is the median of the rounds.
// The table "same" has the present columns and indexes of event; the table "plain" has those of the time at which the goals were set, and
// the goals are about "plain". Each append is a command as the program sends it: one event on a stream of its own, and a guard on the
// roster. Over many workspaces the workspace of each append is chosen at random: evenly, or by Zipf's law, so that a few workspaces have
// most appends. go-us and pg-us are the processor time of one append and of one plain insert, which a loaded machine disturbs least.
// KLUIS_BENCH_WORKSPACES is the largest number of workspaces, 1000 unless set.
func BenchmarkAppend(b *testing.B) {
	f := newFixture(b)
	db, err := pg.Open(context.Background(), f.url, benchConns)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	store := eventstore.New(db, eventstore.NewBell())
	b.Cleanup(store.Close)
	plain, same := plainTable(b, f, "plain", plainEvent), plainTable(b, f, "same", sameEvent)
	most := 1000
	if text := os.Getenv("KLUIS_BENCH_WORKSPACES"); text != "" {
		most, _ = strconv.Atoi(text)
	}
	var workspaces []pg.Workspace
	for _, c := range []struct {
		workspaces, writers int
		zipf                bool
	}{{1, 1, false}, {1, 8, false}, {1, 32, false}, {1, 128, false}, {16, 16, false}, {256, 256, false}, {256, 256, true}, {1000, 256, false}, {1000, 256, true}} {
		if c.workspaces > most {
			continue
		}
		workspaces = append(workspaces, f.founded(b, c.workspaces-len(workspaces))...)
		name := fmt.Sprintf("workspaces=%d/writers=%d", c.workspaces, c.writers)
		if c.zipf {
			name += "/zipf"
		}
		b.Run(name, func(b *testing.B) {
			choose := chooser(c.workspaces, c.writers, c.zipf)
			append := func(writer int) error {
				a := write("task-"+uuid.NewString(), 0, "Something that somebody has to do before the end of the week")
				a.Actor, a.Guards = uuid.New(), []eventstore.Guard{{Stream: "roster", Version: 1}}
				_, err := store.Append(context.Background(), workspaces[choose(writer)], a)
				return err
			}
			for b.Loop() {
				ratio, ours, theirs := compareCPU(b, f.url, c.writers, append, plain)
				b.ReportMetric(ours, "appends/s")
				b.ReportMetric(theirs, "inserts/s")
				b.ReportMetric(ratio, "x")
				ratio, _, theirs = compare(b, c.writers, append, same)
				b.ReportMetric(theirs, "same-inserts/s")
				b.ReportMetric(ratio, "same-x")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// benchConns is the number of connections, the same for the appends and for the plain inserts.
const benchConns = 20

// chooser gives the workspace of each writer's next append.
func chooser(workspaces, writers int, zipf bool) func(writer int) int {
	each := make([]func() int, writers)
	for i := range each {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		each[i] = func() int { return random.IntN(workspaces) }
		if zipf {
			z := rand.NewZipf(random, 1.1, 1, uint64(workspaces-1))
			each[i] = func() int { return int(z.Uint64()) }
		}
	}
	return func(writer int) int { return each[writer]() }
}

// founded makes n workspaces with a roster, a few at once.
func (f *fixture) founded(b *testing.B, n int) []pg.Workspace {
	b.Helper()
	made := make([]pg.Workspace, max(n, 0))
	var group errgroup.Group
	group.SetLimit(4)
	for i := range made {
		group.Go(func() error {
			made[i] = f.workspace(b)
			_, err := f.store.Append(context.Background(), made[i], write("roster", 0, "founded"))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return made
}

// The tables for plain inserts: one with the columns and indexes that event had when the goals were set, and one with the present ones.
const (
	plainEvent = `create table {schema}.event (position bigint generated always as identity primary key,
		id uuid not null, stream text not null, version integer not null, type text not null, at timestamptz not null, actor uuid,
		data json not null, unique (stream, version)); create index on {schema}.event (at)`
	sameEvent = `create table {schema}.event (position bigint generated always as identity primary key,
		id uuid not null, stream text not null, version integer not null, type text not null, at timestamptz not null, actor uuid,
		meta json, data json not null, size integer not null default 0, unique (stream, version) include (position));
		create index on {schema}.event (at, position); create index on {schema}.event (actor, position); create index on {schema}.event (type, position)`
)

// plainTable makes such a table in a schema of its own, and gives a function that inserts a row.
func plainTable(b *testing.B, f *fixture, schema, table string) func(int) error {
	b.Helper()
	ctx := context.Background()
	if err := f.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "create schema "+schema+";"+strings.ReplaceAll(table, "{schema}", schema)) //sqlcheck:allow constants of this file
		return err
	}); err != nil {
		b.Fatal(err)
	}
	config := f.db.Pool().Config()
	config.MaxConns = benchConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	insert := `insert into ` + schema + `.event (id, stream, version, type, at, actor, data) values ($1, $2, 1, 'thing.done', $3, $4, $5)`
	return func(int) error {
		//sqlcheck:allow constants of this file
		_, err := pool.Exec(ctx, insert, uuid.New(), "task-"+uuid.NewString(), time.Now(), uuid.New(),
			string(event("Something that somebody has to do before the end of the week").Data))
		return err
	}
}

// compare lets a and b take turns, and gives the median ratio of their rates, and their median rates.
func compare(t testing.TB, writers int, a, b func(writer int) error) (ratio, rateA, rateB float64) {
	t.Helper()
	return compareBy(t, func(do func(int) error, turn time.Duration) float64 { return rate(t, writers, turn, do) }, a, b)
}

// compareCPU is compare, and also reports the processor time of one call in microseconds: that of this process, and that of Postgres.
func compareCPU(b *testing.B, url string, writers int, ours, theirs func(writer int) error) (ratio, rateOurs, rateTheirs float64) {
	b.Helper()
	var of [2]struct{ n, self, postgres float64 }
	i := 0
	defer func() {
		for i, name := range []string{"", "plain-"} {
			b.ReportMetric(of[i].self/of[i].n, name+"go-us")
			b.ReportMetric(of[i].postgres/of[i].n, name+"pg-us")
		}
	}()
	return compareBy(b, func(do func(int) error, turn time.Duration) float64 {
		spent := &of[i%2]
		i++
		self, postgres := pgtest.CPU(b, url)
		start := time.Now()
		rate := rate(b, writers, turn, do)
		spent.n += rate * time.Since(start).Seconds()
		selfAfter, postgresAfter := pgtest.CPU(b, url)
		spent.self += float64((selfAfter - self).Microseconds())
		spent.postgres += float64((postgresAfter - postgres).Microseconds())
		return rate
	}, ours, theirs)
}

func compareBy(t testing.TB, rate func(do func(int) error, turn time.Duration) float64, a, b func(writer int) error) (ratio, rateA, rateB float64) {
	t.Helper()
	turn := 2 * time.Second
	if text := os.Getenv("KLUIS_BENCH_TURN"); text != "" {
		turn, _ = time.ParseDuration(text)
	}
	rate(a, turn/2) // warm
	rate(b, turn/2)
	var ratios, as, bs []float64
	for range 3 {
		x, y := rate(a, turn), rate(b, turn)
		ratios, as, bs = append(ratios, x/y), append(as, x), append(bs, y)
	}
	return median(ratios), median(as), median(bs)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// rate measures how many times a second concurrent writers call do.
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
