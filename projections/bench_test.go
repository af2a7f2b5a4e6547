package projections

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkRebuild rebuilds the read models of one workspace from a log of 200,000 events (KLUIS_BENCH_EVENTS) on
// tasks and comments: alone; while two clients list tasks a hundred times a second each; and while they do so as fast as
// they can, which leaves a rebuild no core of its own. What the clients reach is compared with what they
// reached just before, without a rebuild, in the same run.
//
// The first catch-up is the ordinary one, in small pages: what a server does that was restored without read models.
func BenchmarkRebuild(b *testing.B) {
	events := 200_000
	if text := os.Getenv("KLUIS_BENCH_EVENTS"); text != "" {
		events, _ = strconv.Atoi(text)
	}
	p := newProcess(b)
	by := p.found(b)
	p.history(b, by, events)
	begun := time.Now()
	if _, err := p.CatchUp(context.Background(), by.Workspace); err != nil {
		b.Fatal(err)
	}
	catchUp := float64(events) / time.Since(begun).Seconds()
	p.admin(b, `vacuum analyze`) // as autovacuum will have done
	for b.Loop() {
		alone := rebuildRate(b, p, by.Workspace)
		b.ReportMetric(catchUp, "catchup-events/s")
		b.ReportMetric(alone, "events/s")
		copied := copyRate(b, p, by.Workspace, events)
		b.ReportMetric(copied, "copied-events/s")
		b.ReportMetric(alone/copied, "copy-x")
		for _, c := range []struct {
			name string
			gap  time.Duration
		}{{"paced", 10 * time.Millisecond}, {"flood", 0}} {
			quiet := readers(b, p, by, c.gap, func() { time.Sleep(4 * time.Second) })
			var during float64
			busy := readers(b, p, by, c.gap, func() { during = rebuildRate(b, p, by.Workspace) })
			b.ReportMetric(during, c.name+"-events/s")
			b.ReportMetric(quiet.rate, c.name+"-reads/s")
			b.ReportMetric(busy.rate/quiet.rate, c.name+"-reads-x")
			b.ReportMetric(quiet.p99.Seconds()*1000, c.name+"-p99-ms")
			b.ReportMetric(busy.p99.Seconds()*1000, c.name+"-rebuild-p99-ms")
			b.ReportMetric(busy.worst.Seconds()*1000, c.name+"-rebuild-worst-ms")
		}
		b.ReportMetric(0, "ns/op")
	}
	if d, err := p.Check(context.Background(), by.Workspace, nil); err != nil || d != nil {
		b.Errorf("drift %v, %v", d, err)
	}
}

// BenchmarkCatchUp is the ordinary catch-up alone, of as many events, in small pages: what a server does that was restored without
// read models. go-us and pg-us are the processor time of an event, in microseconds.
func BenchmarkCatchUp(b *testing.B) {
	events := 200_000
	if text := os.Getenv("KLUIS_BENCH_EVENTS"); text != "" {
		events, _ = strconv.Atoi(text)
	}
	for b.Loop() {
		p := newProcess(b)
		by := p.found(b)
		p.history(b, by, events)
		ours, postgres := pgtest.CPU(b, p.db.Pool().Config().ConnString())
		begun := time.Now()
		if _, err := p.CatchUp(context.Background(), by.Workspace); err != nil {
			b.Fatal(err)
		}
		took := time.Since(begun)
		oursAfter, postgresAfter := pgtest.CPU(b, p.db.Pool().Config().ConnString())
		b.ReportMetric(float64(events)/took.Seconds(), "events/s")
		b.ReportMetric(float64((oursAfter-ours).Microseconds())/float64(events), "go-us")
		b.ReportMetric(float64((postgresAfter-postgres).Microseconds())/float64(events), "pg-us")
		b.ReportMetric(0, "ns/op")
	}
}

func rebuildRate(b *testing.B, p *process, w pg.Workspace) float64 {
	b.Helper()
	begun := time.Now()
	events, err := p.Rebuild(context.Background(), w, nil)
	if err != nil {
		b.Fatal(err)
	}
	return float64(events) / time.Since(begun).Seconds()
}

// copyRate is the baseline of a rebuild, in events a second: COPY of the log out of the database, and COPY of the rows of all read models into
// tables with the same indexes.
func copyRate(b *testing.B, p *process, w pg.Workspace, events int) float64 {
	b.Helper()
	ctx, conn := context.Background(), p.superuser(b).PgConn()
	schema := w.Schema()
	begun := time.Now()
	if _, err := conn.CopyTo(ctx, io.Discard, `copy `+schema+`.event to stdout (format binary)`); err != nil {
		b.Fatal(err)
	}
	took := time.Since(begun)
	for _, m := range tables() {
		var rows bytes.Buffer
		if _, err := conn.CopyTo(ctx, &rows, `copy `+schema+`.`+m.table()+` to stdout (format binary)`); err != nil {
			b.Fatal(err)
		}
		p.admin(b, `drop table if exists copied; create table copied (like `+schema+`.`+m.table()+` including all)`)
		begun = time.Now()
		if _, err := conn.CopyFrom(ctx, &rows, `copy copied from stdin (format binary)`); err != nil {
			b.Fatal(err)
		}
		took += time.Since(begun)
	}
	return float64(events) / took.Seconds()
}

// reached is the number of reads a second, and their durations.
type reached struct {
	rate       float64
	p99, worst time.Duration
}

// readers lets two clients list tasks, 50 at a time, in three ways, one list each gap at most, for as long as do lasts.
func readers(b *testing.B, p *process, by Actor, gap time.Duration, do func()) reached {
	b.Helper()
	stop := make(chan struct{})
	var mu sync.Mutex
	var all []time.Duration
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			var took []time.Duration
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, took...)
			}()
			filters := []TaskFilter{{}, {Status: []string{"open"}}, {Assignee: IDs{Any: []uuid.UUID{by.Member}}}}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				begun := time.Now()
				tasks, mark, err := p.ListTasks(context.Background(), by, filters[i%len(filters)], Page{Limit: 50})
				if err != nil || len(tasks) == 0 || mark.Behind() != 0 {
					b.Errorf("%d tasks, %+v, %v", len(tasks), mark, err)
					return
				}
				took = append(took, time.Since(begun))
				time.Sleep(gap - time.Since(begun))
			}
		})
	}
	begun := time.Now()
	do()
	close(stop)
	clients.Wait()
	slices.Sort(all)
	if len(all) == 0 {
		b.Fatal("no reads")
	}
	return reached{float64(len(all)) / time.Since(begun).Seconds(), all[len(all)*99/100], all[len(all)-1]}
}

// history writes events into the log, as the superuser: for each task that is created about four others, on one of the
// tasks of late: a third of them comments.
func (p *process) history(b testing.TB, by Actor, events int) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	type live struct {
		id      uuid.UUID
		version int
	}
	var tasks []live
	begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	position := int64(2)
	at := func() time.Time { return begin.Add(time.Duration(position) * 10 * time.Microsecond) }
	row := func(stream string, version int, e domain.Event) []any {
		position++
		data := string(encode(b, e))
		return []any{position, uuid.Must(uuid.NewV7()), stream, version, domain.TypeOf(e), at(), by.Member, data, len(data)}
	}
	text := "It has to be done before the end of the week, because the others wait for it. "
	i := 0
	rows := pgx.CopyFromFunc(func() ([]any, error) {
		if i++; i > events {
			return nil, nil
		}
		if i%5 == 1 {
			tasks = append(tasks, live{uuid.Must(uuid.NewV7()), 1})
			return row(domain.TaskStream(tasks[len(tasks)-1].id), 1, domain.TaskCreated{Title: fmt.Sprintf("Task %d: what somebody has to do", i),
				Description: text + text, Status: "open", Priority: "none", AssigneeIDs: []uuid.UUID{by.Member}}), nil
		}
		t := &tasks[len(tasks)-1-random.IntN(min(len(tasks), 500))]
		if i%3 == 0 {
			return row(domain.CommentStream(uuid.Must(uuid.NewV7())), 1, domain.CommentCreated{TaskID: t.id, Body: text}), nil
		}
		t.version++
		var e domain.Event
		switch random.IntN(5) {
		case 0:
			e = domain.TaskCompleted{}
		case 1:
			e = domain.TaskReopened{Status: "open"}
		case 2:
			e = domain.TaskAssigned{MemberID: uuid.New()}
		default:
			priority := domain.TaskPriorities[random.IntN(5)]
			e = domain.TaskUpdated{Priority: &priority, DueOn: domain.To(domain.Date("2026-12-31"))}
		}
		return row(domain.TaskStream(t.id), t.version, e), nil
	})
	schema := by.Workspace.Schema()
	if _, err := p.superuser(b).CopyFrom(context.Background(), pgx.Identifier{schema, "event"},
		[]string{"position", "id", "stream", "version", "type", "at", "actor", "data", "size"}, rows); err != nil {
		b.Fatal(err)
	}
	p.admin(b, `update `+schema+`.head set position = $1, last = (select id from `+schema+`.event where position = $1), at = $2`, position, at())
}
