package eventstore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
)

// benchEvents is the number of events in the log to verify: KLUIS_BENCH_EVENTS, or a million.
func benchEvents() int {
	if n, err := strconv.Atoi(os.Getenv("KLUIS_BENCH_EVENTS")); err == nil {
		return n
	}
	return 1_000_000
}

// longLog is a workspace with n events of some 70 bytes on streams of ten each.
func longLog(b *testing.B, f *fixture, n int) pg.Workspace {
	b.Helper()
	w := f.workspace(b)
	f.superuser(b, w, fmt.Sprintf(`insert into event (position, id, stream, version, type, at, actor, data, size)
		select n, gen_random_uuid(), 'task-' || md5(((n - 1) / 10)::text), (n - 1) %% 10 + 1, 'thing.done', now(), '%s', data::json, octet_length(data)
			from generate_series(1, %d) n, lateral (select json_build_object('text', 'Something that somebody has to do before the end of week ' || n)::text as data) as written;
		update head set position = %[2]d, last = (select id from event where position = %[2]d), at = now(); analyze event`, uuid.New(), n))
	return w
}

// BenchmarkVerify compares verifying a log with bare SHA-256 over the same columns of the same rows, read through the same pool, and
// reading it as a replay does with a plain SELECT of the same rows. It also measures one proof.
func BenchmarkVerify(b *testing.B) {
	f := newFixture(b)
	ctx := context.Background()
	n := benchEvents()
	w := longLog(b, f, n)
	begun := time.Now()
	for {
		tree, err := f.store.Grow(ctx, w)
		if err != nil {
			b.Fatal(err)
		}
		if tree.Behind() == 0 {
			break
		}
	}
	grown := time.Since(begun)
	plain := func(each func(eventstore.Record)) time.Duration {
		begun := time.Now()
		for position := int64(0); position < int64(n); {
			var records []eventstore.Record
			if err := f.db.Read(ctx, w, eventstore.Range(&records, position+1, position+10_000)); err != nil {
				b.Fatal(err)
			}
			for _, r := range records {
				each(r)
			}
			position = records[len(records)-1].Position
		}
		return time.Since(begun)
	}
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			bare := plain(func(r eventstore.Record) {
				h := sha256.New()
				h.Write(r.ID[:])
				h.Write([]byte(r.Stream))
				h.Write([]byte(r.Type))
				h.Write(r.Meta)
				h.Write(r.Data)
				h.Sum(nil)
			})
			begun := time.Now()
			verdict, err := f.store.Verify(ctx, w, eventstore.Expected{}, nil)
			if err != nil || len(verdict.Findings) > 0 {
				b.Fatalf("%v, %v", verdict.Findings, err)
			}
			took := time.Since(begun)
			b.ReportMetric(bare.Seconds()/took.Seconds(), "x")
			b.ReportMetric(float64(n)/took.Seconds(), "records/s")
			b.ReportMetric(float64(n)/grown.Seconds(), "grown/s")
			b.ReportMetric(0, "ns/op")
		}
	})
	b.Run("replay", func(b *testing.B) {
		for b.Loop() {
			bare := plain(func(eventstore.Record) {})
			begun := time.Now()
			var line []byte
			if _, err := f.store.Each(ctx, w, 1, func(r eventstore.Record) error { line = r.AppendLine(line[:0]); return nil }); err != nil {
				b.Fatal(err)
			}
			took := time.Since(begun)
			b.ReportMetric(bare.Seconds()/took.Seconds(), "x")
			b.ReportMetric(float64(n)/took.Seconds(), "records/s")
			b.ReportMetric(0, "ns/op")
		}
	})
	b.Run("proof", func(b *testing.B) {
		bytes := 0
		for i := 0; b.Loop(); i++ {
			position := int64(i*7919%n + 1)
			root, err := f.store.Root(ctx, w, int64(n))
			if err != nil {
				b.Fatal(err)
			}
			proof, err := f.store.ProveRecord(ctx, w, int64(n), position)
			if err != nil {
				b.Fatal(err)
			}
			c := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("https://kluis.example.org", w.ID, 1), Size: int64(n), Root: root}
			bytes = len(checkpoint.Receipt(position-1, proof, []byte(c.Text()))) + 200 // a signature
		}
		b.ReportMetric(float64(bytes), "bytes")
	})
}

// BenchmarkAppendWithTree compares appends while the background grows the tree with appends without a tree.
func BenchmarkAppendWithTree(b *testing.B) {
	f := newFixture(b)
	ctx := context.Background()
	with, without := f.workspace(b), f.workspace(b)
	var growing atomic.Bool
	done, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				if growing.Load() {
					if _, err := f.store.GrowFor(ctx, with, 10*time.Second); err != nil {
						b.Error(err)
					}
				}
			}
		}
	}()
	defer func() { close(end); <-done }()
	appendTo := func(w pg.Workspace, grows bool) func(int) error {
		return func(int) error {
			growing.Store(grows)
			_, err := f.store.Append(ctx, w, write("task-"+uuid.NewString(), 0, "Something that somebody has to do before the end of the week"))
			return err
		}
	}
	for b.Loop() {
		ratio, ours, theirs := compare(b, 32, appendTo(with, true), appendTo(without, false))
		b.ReportMetric(ratio, "x")
		b.ReportMetric(ours, "appends/s")
		b.ReportMetric(theirs, "without/s")
		b.ReportMetric(0, "ns/op")
	}
}
