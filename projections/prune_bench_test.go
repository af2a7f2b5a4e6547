package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// BenchmarkPrune prunes 1,000,000 events (KLUIS_BENCH_EVENTS) of one workspace, as the nightly job does: the log is verified, baselines are
// stored and compared, and the records are deleted. Meanwhile two clients append to the same workspace, fifty times a second each at most, and
// the read models follow. How long an append takes is compared with the same clients without a pruning, just before.
func BenchmarkPrune(b *testing.B) {
	events := 1_000_000
	if text := os.Getenv("KLUIS_BENCH_EVENTS"); text != "" {
		events, _ = strconv.Atoi(text)
	}
	for b.Loop() {
		p := newProcess(b)
		by := p.found(b)
		p.history(b, by, events)
		p.admin(b, `update `+by.Workspace.Schema()+`.event set at = at - interval '2 hours' where position <= 2`) // which history wrote behind them
		if _, err := p.CatchUp(context.Background(), by.Workspace); err != nil {
			b.Fatal(err)
		}
		if tree, err := p.store.GrowFor(context.Background(), by.Workspace, time.Hour); err != nil || tree.Behind() != 0 {
			b.Fatal(tree, err)
		}
		p.admin(b, `vacuum analyze`) // as autovacuum will have done
		last := int64(events)
		quiet := appenders(b, p, by, func() { time.Sleep(5 * time.Second) })
		var gone, deleted time.Duration
		busy := appenders(b, p, by, func() {
			begun := time.Now()
			p.pruneUpTo(b, by.Workspace, last)
			gone = time.Since(begun)
			if err := p.store.DeletePruned(context.Background(), by.Workspace, func(string, int64) error { return nil }); err != nil {
				b.Error(err)
			}
			deleted = time.Since(begun) - gone
		})
		b.ReportMetric(float64(events)/(gone+deleted).Seconds(), "events/s")
		b.ReportMetric(gone.Seconds(), "until-gone-s")
		b.ReportMetric(deleted.Seconds(), "deleting-s")
		for name, reached := range map[string]reached{"quiet": quiet, "pruning": busy} {
			b.ReportMetric(reached.p99.Seconds()*1000, name+"-p99-ms")
			b.ReportMetric(reached.worst.Seconds()*1000, name+"-worst-ms")
			b.ReportMetric(reached.rate, name+"-appends/s")
		}
		b.ReportMetric(busy.p99.Seconds()/quiet.p99.Seconds(), "p99-x")
		b.ReportMetric(0, "ns/op")
		if d, err := p.Check(context.Background(), by.Workspace, nil); err != nil || d != nil {
			b.Errorf("drift %v, %v", d, err)
		}
	}
}

// appenders lets two clients append, once in 20 ms at most, for as long as do lasts, while the read models follow.
func appenders(b *testing.B, p *process, by Actor, do func()) reached {
	b.Helper()
	stop := make(chan struct{})
	ended := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var mu sync.Mutex
	var all []time.Duration
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for n := 0; !ended(); n++ {
				begun := time.Now()
				p.task(b, by, fmt.Sprint(n))
				took := time.Since(begun)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
				time.Sleep(20*time.Millisecond - took)
			}
		})
	}
	clients.Go(func() {
		for !ended() {
			if _, err := p.CatchUp(context.Background(), by.Workspace); err != nil {
				b.Logf("catch up: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	begun := time.Now()
	func() {
		defer clients.Wait() // also when do fails
		defer close(stop)
		do()
	}()
	slices.Sort(all)
	return reached{float64(len(all)) / time.Since(begun).Seconds(), all[len(all)*99/100], all[len(all)-1]}
}

// pruneUpTo moves the horizon to a position, as a retention does. The records are not deleted.
func (p *process) pruneUpTo(t testing.TB, w pg.Workspace, upTo int64) {
	t.Helper()
	ctx := context.Background()
	due := eventstore.Overdue{Position: upTo}
	if err := p.db.Read(ctx, w, pg.Exec(`select pruned from head`).Scan(&due.Pruned), pg.Exec(`select at from event where position = $1`, upTo).Scan(&due.At)); err != nil {
		t.Fatal(err)
	}
	verdict, err := p.Verify(ctx, w, Expected(w, nil, 1), false, nil)
	if err != nil || len(verdict.Findings) > 0 {
		t.Fatal(verdict.Findings, err)
	}
	said := domain.LogPruned{UpTo: upTo, At: due.At}
	err = p.Prune(ctx, w, due, nil, func(baselines string) error { said.Baselines = baselines; return nil }, func(tx *pg.Tx) error {
		data, err := json.Marshal(said)
		if err == nil {
			err = tx.Run(ctx, eventstore.MoveHorizon(due))
		}
		if err == nil {
			_, err = p.store.AppendIn(ctx, tx.Run, w, eventstore.Append{Actor: uuid.Nil, Writes: []eventstore.Write{
				{Stream: domain.LogStream, Expected: eventstore.Any, Events: []eventstore.Event{{Type: domain.TypeOf(said), Data: data}}}}})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
