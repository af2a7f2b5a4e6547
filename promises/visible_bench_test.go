package promises

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkVisible measures how long after the answer of a command, one each 20 ms in one workspace, its event is in the read models when nobody
// reads them: only the checkpoint is asked for, again and again.
func BenchmarkVisible(b *testing.B) {
	p := newSite(b).newProcess(b, true)
	ada := p.signUp(b)
	conn := must(pgx.Connect(b.Context(), pgtest.Superuser(b, p.site.url)))
	defer conn.Close(context.Background())
	for b.Loop() {
		var took []time.Duration
		for range 500 {
			wanted := ada.call(b, "POST", "/api/tasks", object{"title": "x"}).want(b, 201).position(b)
			answered := time.Now()
			for position := int64(0); position < wanted; {
				//sqlcheck:allow a name made of the workspace's id
				if err := conn.QueryRow(b.Context(), `select position from `+ada.workspace.Schema()+`.checkpoint`).Scan(&position); err != nil {
					b.Fatal(err)
				}
			}
			took = append(took, time.Since(answered))
			time.Sleep(20 * time.Millisecond)
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
		b.ReportMetric(0, "ns/op")
	}
}
