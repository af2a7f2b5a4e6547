package promises

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// BenchmarkReceivers measures one webhook on this machine: how many events a second it gets of a log that is there already, beside a bare
// client that posts the same bodies one after the other; and, at 1,200 events a second, how long after the answer of its append each comes.
func BenchmarkReceivers(b *testing.B) {
	ada := receiving(b, 1)[0].signUp(b)
	arrived := make(chan int64, 100_000)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		id := r.Header.Get("webhook-id")
		position, _ := strconv.ParseInt(id[strings.LastIndexByte(id, '_')+1:], 10, 64)
		arrived <- position
	}))
	b.Cleanup(hook.Close)
	data := []byte(`{"title":"Something that somebody has to do before the end of the week","status":"open","priority":"normal"}`)
	add := func(n int) int64 {
		var writes []eventstore.Write
		for range n {
			writes = append(writes, eventstore.Write{Stream: domain.TaskStream(uuid.Must(uuid.NewV7())), Events: []eventstore.Event{{Type: "task.created", Data: data}}})
		}
		return must(ada.store.Append(context.Background(), ada.workspace, eventstore.Append{Actor: ada.id, Writes: writes})).Last
	}
	const many = 20_000
	var last int64
	for range many / 100 {
		last = add(100)
	}
	b.Run("rate", func(b *testing.B) {
		for b.Loop() {
			begun := time.Now()
			ada.call(b, "POST", "/api/receivers", object{"kind": "webhook", "name": "x", "url": hook.URL, "types": []string{"task.created"}, "from": 1}).want(b, 201)
			for p := range arrived {
				if p == last {
					break
				}
			}
			ours := many / time.Since(begun).Seconds()
			begun = time.Now()
			for range many / 4 {
				response := must(wire.Post(hook.URL, "application/json", strings.NewReader(string(data)))) //nolint:bodyclose // two lines below
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				<-arrived
			}
			bare := many / 4 / time.Since(begun).Seconds()
			b.ReportMetric(ours, "events/s")
			b.ReportMetric(bare, "bare/s")
			b.ReportMetric(ours/bare, "x")
			b.ReportMetric(0, "ns/op")
		}
	})
	b.Run("delay", func(b *testing.B) {
		for b.Loop() {
			took := delays(add, arrived, 1200, 5*time.Second)
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
			b.ReportMetric(float64(len(took))/5, "events/s")
			b.ReportMetric(0, "ns/op")
		}
	})
}

// delays appends so many events a second, six at a time, and gives how long after the commit each arrived.
func delays(add func(int) int64, arrived <-chan int64, rate int, turn time.Duration) (took []time.Duration) {
	const batch = 6
	var mu sync.Mutex
	committed := map[int64]time.Time{}
	seen := map[int64]time.Time{}
	done := make(chan int64, 1)
	var all sync.WaitGroup
	all.Go(func() {
		target := int64(-1)
		for {
			select {
			case target = <-done:
			case p := <-arrived:
				mu.Lock()
				seen[p] = time.Now()
				mu.Unlock()
			}
			mu.Lock()
			_, end := seen[target]
			mu.Unlock()
			if end {
				return
			}
		}
	})
	tick := time.NewTicker(time.Second * batch / time.Duration(rate))
	defer tick.Stop()
	var last int64
	for begun := time.Now(); time.Since(begun) < turn; <-tick.C {
		last = add(batch)
		now := time.Now()
		mu.Lock()
		for i := range int64(batch) {
			committed[last-i] = now
		}
		mu.Unlock()
	}
	done <- last
	all.Wait()
	for position, at := range committed {
		took = append(took, max(seen[position].Sub(at), 0))
	}
	return took
}
