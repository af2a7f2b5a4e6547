package jobs

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"os"

	"github.com/google/uuid"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestZLoad(t *testing.T) {
	if os.Getenv("ZLOAD") == "" { t.Skip() }
	p := newProcess(t)
	ada := p.found(t, p.waitingCode)
	p.invite(t, ada, "x@example.org")
	load := func(writers int, d time.Duration) float64 {
		var n atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(d)
		for range writers {
			wg.Go(func() {
				for time.Now().Before(end) {
					id := uuid.New()
					_, err := p.store.Append(context.Background(), ada.Workspace, eventstore.Append{Writes: []eventstore.Write{{Stream: "comment-" + id.String(),
						Events: []eventstore.Event{{Type: "comment.created", Data: []byte(`{"task_id":"01a203b5-2514-7007-87cf-d13fbe846401","body":"x"}`)}}}}})
					if err != nil { t.Error(err); return }
					n.Add(1)
				}
			})
		}
		wg.Wait()
		return float64(n.Load()) / d.Seconds()
	}
	for range 2 {
	for _, w := range []int{1, 32} {
		a := load(w, 2*time.Second)
		stop := p.run(t, p.Run)
		// drain first
		until(t, "drain", func() bool { return p.signals(t) == 0 })
		b := load(w, 2*time.Second)
		begun := time.Now()
		until(t, "drain", func() bool { return p.signals(t) == 0 })
		var scans int64
		p.DB.Do(context.Background(), ada.Workspace, pg.Exec(`select position from head`).Scan(&scans))
		t.Logf("writers %d: without %.0f/s, with %.0f/s, drained in %s, head %d", w, a, b, time.Since(begun), scans)
		stop()
	    p.Jobs, _ = New(p.Needs)
	}
	}
}
