package eventstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// auditedLog is a workspace with n events. One actor has nearly all of them, one has every hundredth, and one has three old ones. One of
// the four types has only three old events. A tenth of the events is in one stream, and each instant has some hundred events.
type auditedLog struct {
	w                  pg.Workspace
	busy, idle, absent uuid.UUID
	n                  int
	begin              time.Time
}

func newAuditedLog(t testing.TB, f *fixture, n int) auditedLog {
	t.Helper()
	l := auditedLog{f.workspace(t), uuid.New(), uuid.New(), uuid.New(), n, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	f.superuser(t, l.w, fmt.Sprintf(`insert into event (position, id, stream, version, type, at, actor, data, size)
		select n, gen_random_uuid(), case when n %% 10 = 0 then 'roster' else 'task-' || (n / 10) end, case when n %% 10 = 0 then n / 10 else n %% 10 end,
			case when n in (5, 205, 405) then 'thing.lost' when n %% 3 = 0 then 'thing.begun' when n %% 3 = 1 then 'thing.done' else 'other.done' end,
			'2026-03-01 00:00Z'::timestamptz + n / 100 * interval '1 second', case when n in (7, 207, 407) then '%s'::uuid when n %% 100 = 0 then '%s' else '%s' end,
			json_build_object('text', 'Something that somebody has to do before the end of week ' || n, 'thing_id', md5((n %% 5000)::text)::uuid), 100 from generate_series(1, %d) n;
		update head set position = %[4]d, last = (select id from event where position = %[4]d), at = now()`, l.absent, l.idle, l.busy, n))
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), `vacuum analyze `+l.w.Schema()+`.event`); err != nil { // as autovacuum will have done
		t.Fatal(err)
	}
	return l
}

// filters are filters with each condition, and some with two.
func (l auditedLog) filters() map[string]eventstore.Filter {
	at := func(n int) *time.Time { at := l.begin.Add(time.Duration(n/100) * time.Second); return &at }
	thing := uuid.MustParse("cfcd2084-95d5-65ef-66e7-dff9f98764da") // md5 of 0
	return map[string]eventstore.Filter{
		"all":                          {},
		"a busy actor":                 {Actor: &l.busy},
		"an idle actor":                {Actor: &l.idle},
		"an actor of long ago":         {Actor: &l.absent},
		"nobody":                       {Actor: &uuid.Max},
		"a common type":                {Types: []string{"thing.done"}},
		"a type of long ago":           {Types: []string{"thing.lost"}},
		"two common types":             {Types: []string{"thing.done", "other.done"}},
		"no type":                      {Types: []string{}},
		"a long stream":                {Stream: "roster"},
		"a short stream":               {Stream: "task-3"},
		"since":                        {From: at(l.n / 2)},
		"until":                        {To: at(l.n / 2)},
		"a moment":                     {From: at(l.n / 2), To: at(l.n / 2)},
		"since the future":             {From: at(10 * l.n)},
		"until before":                 {To: at(-1000)},
		"a page further":               {Before: int64(l.n / 2)},
		"an actor, a page further":     {Actor: &l.busy, Before: int64(l.n / 2)},
		"a common text":                {Text: "SOMEBODY"},
		"a rare text":                  {Text: "of week 77\""},
		"an actor of long ago's types": {Actor: &l.absent, Types: []string{"thing.done", "thing.begun"}},
		"a busy actor's lost type":     {Actor: &l.busy, Types: []string{"thing.lost"}},
		"a type since":                 {Types: []string{"thing.begun"}, From: at(l.n - 2000)},
		"a thing":                      {About: &eventstore.About{ID: thing, Fields: []string{"thing_id"}, Own: []string{"task-3"}, Streams: []string{"roster", "task-3"}}},
		"an actor in a stream":         {Actor: &l.idle, Stream: "roster"},
		"behind a position":            {After: int64(l.n - 10), UpTo: int64(l.n - 3)},
	}
}

// A caller who pages through a filter gets all chosen records and no others, from both ends, however few records one query looks at.
func TestFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := newAuditedLog(t, f, 12_000)
	var all []eventstore.Record
	if _, err := f.store.Each(t.Context(), l.w, 1, func(r eventstore.Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	for name, filter := range l.filters() {
		var want []int64
		for _, r := range all {
			if chooses(filter, r) {
				want = append(want, r.Position)
			}
		}
		for _, limit := range []int{701, 5000} {
			var up, down []int64
			for more := filter; ; {
				var c eventstore.Chosen
				f.read(t, l.w, eventstore.Oldest(&c, more, limit))
				up = append(up, c.Positions...)
				if n := len(c.Positions); n == limit {
					more.After = c.Positions[n-1]
				} else if more.After = c.LookedTo; c.LookedTo == 0 {
					break
				}
			}
			for more := filter; ; {
				var c eventstore.Chosen
				f.read(t, l.w, eventstore.Newest(&c, more, limit))
				down = append(down, c.Positions...)
				if n := len(c.Positions); n == limit {
					more.Before = c.Positions[n-1]
				} else if more.Before = c.LookedTo; c.LookedTo == 0 {
					break
				}
			}
			slices.Reverse(down)
			if diff := cmp.Diff(want, up) + cmp.Diff(want, down); diff != "" {
				t.Errorf("%s, %d at a time: %d and %d records, not %d", name, limit, len(up), len(down), len(want))
			}
		}
	}
}

func (f *fixture) read(t testing.TB, w pg.Workspace, statement pg.Statement) {
	t.Helper()
	if err := f.db.Read(context.Background(), w, pg.PlanEach(), statement); err != nil {
		t.Fatal(err)
	}
}

// chooses is the meaning of a filter in Go, for comparison with the SQL.
func chooses(f eventstore.Filter, r eventstore.Record) bool {
	var data map[string]string
	_ = json.Unmarshal(r.Data, &data) // all texts
	about := func(a *eventstore.About) bool {
		return slices.Contains(a.Streams, r.Stream) && (slices.Contains(a.Own, r.Stream) || slices.ContainsFunc(a.Fields, func(field string) bool { return data[field] == a.ID.String() }))
	}
	return (f.Actor == nil || *r.Actor == *f.Actor) && (f.Types == nil || slices.Contains(f.Types, r.Type)) && (f.Stream == "" || r.Stream == f.Stream) &&
		(f.About == nil || about(f.About)) && (f.From == nil || !r.At.Before(*f.From)) && (f.To == nil || !r.At.After(*f.To)) &&
		strings.Contains(strings.ToLower(string(r.Data)), strings.ToLower(f.Text)) &&
		(f.Before == 0 || r.Position < f.Before) && r.Position > f.After && (f.UpTo == 0 || r.Position <= f.UpTo)
}

// A filter reads no more pages of a log that is four times as long, and never the whole log.
func TestNoFilterScansTheLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	short, long := newAuditedLog(t, f, 20_000), newAuditedLog(t, f, 80_000)
	few, many := short.filters(), long.filters()
	for name := range few {
		if a, b := f.pagesRead(t, short.w, few[name]), f.pagesRead(t, long.w, many[name]); b > 2*a+60 {
			t.Errorf("%s: %d pages of 20,000 events, %d of 80,000", name, a, b)
		}
	}
}

// pagesRead gives the number of pages of tables and indexes that Postgres reads for a list of 50.
func (f *fixture) pagesRead(t *testing.T, w pg.Workspace, filter eventstore.Filter) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	sql, args := filter.Query(51)
	if _, err := conn.Exec(t.Context(), `set search_path = `+w.Schema()); err != nil {
		t.Fatal(err)
	}
	var text string
	for range 2 { // the first time reads the catalogue, too
		if err := conn.QueryRow(t.Context(), `explain (analyze, buffers, format json) `+sql, args...).Scan(&text); err != nil { //sqlcheck:allow the text is that of the program
			t.Fatal(err)
		}
	}
	if whole := regexp.MustCompile(`"Node Type": "Seq Scan",[^{}]*"Relation Name": "event"`); whole.MatchString(text) {
		t.Errorf("%+v reads the whole log: %s", filter, text)
	}
	var plan []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		t.Fatal(err)
	}
	return plan[0].Plan.Hit + plan[0].Plan.Read
}

// BenchmarkGrowth asks for 50 records by each filter, of logs of 10,000, 100,000 and 1,000,000 events: how many times as long the slowest
// filter takes on the longest log as on the shortest, each the fastest of seven by turns; KLUIS_BENCH_AUDIT=1 names each. Then it appends to a
// workspace with the indexes that filters need, and to one without, by turns.
func BenchmarkGrowth(b *testing.B) {
	b.Run("Audit", func(b *testing.B) {
		f := newFixture(b)
		var logs []auditedLog
		for _, n := range []int{10_000, 100_000, benchEvents()} {
			logs = append(logs, newAuditedLog(b, f, n))
		}
		for b.Loop() {
			var growth []float64
			for name := range logs[0].filters() {
				took := make([]time.Duration, len(logs))
				for i := range took {
					took[i] = time.Hour
				}
				for range 7 {
					for i, l := range logs {
						var c eventstore.Chosen
						begun := time.Now()
						f.read(b, l.w, eventstore.Newest(&c, l.filters()[name], 51))
						took[i] = min(took[i], time.Since(begun))
					}
				}
				if os.Getenv("KLUIS_BENCH_AUDIT") != "" {
					fmt.Printf("%v: %s\n", took, name)
				}
				growth = append(growth, max(took[1], took[2]).Seconds()/took[0].Seconds())
			}
			sort.Float64s(growth)
			b.ReportMetric(growth[len(growth)/2], "median-x")
			b.ReportMetric(growth[len(growth)-1], "worst-x")
			b.ReportMetric(0, "ns/op")
		}
	})
	b.Run("Append", func(b *testing.B) {
		f := newFixture(b)
		workspaces := f.founded(b, 2)
		f.superuser(b, workspaces[1], `drop index event_at_position_idx, event_actor_position_idx, event_type_position_idx; create index on event (at);
			alter table event drop constraint event_stream_version_position_key; alter table event add unique (stream, version)`)
		to := func(w pg.Workspace) func(int) error {
			members := make([]uuid.UUID, 32)
			for i := range members {
				members[i] = uuid.New()
			}
			return func(writer int) error {
				a := write("task-"+uuid.NewString(), 0, "Something that somebody has to do before the end of the week")
				a.Actor, a.Guards = members[writer], []eventstore.Guard{{Stream: "roster", Version: 1}}
				_, err := f.store.Append(context.Background(), w, a)
				return err
			}
		}
		for _, writers := range []int{1, 32} {
			b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
				for b.Loop() {
					ratio, with, without := compare(b, writers, to(workspaces[0]), to(workspaces[1]))
					b.ReportMetric(with, "appends/s")
					b.ReportMetric(without, "without/s")
					b.ReportMetric(ratio, "x")
					b.ReportMetric(0, "ns/op")
				}
			})
		}
	})
}
