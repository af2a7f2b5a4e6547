package tenancy_test

import (
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkProvision makes workspaces one after the other. pg-ms and go-ms are the processor time of one, of Postgres and of this
// process: what a loaded machine disturbs least.
func BenchmarkProvision(b *testing.B) {
	url := newDatabase(b)
	d := directory(b, open(b, url, 2))
	provision(b, d)
	ours, postgres := pgtest.CPU(b, url)
	begun, n := time.Now(), 0
	for b.Loop() {
		provision(b, d)
		n++
	}
	oursAfter, postgresAfter := pgtest.CPU(b, url)
	b.ReportMetric(time.Since(begun).Seconds()*1000/float64(n), "ms")
	b.ReportMetric((oursAfter-ours).Seconds()*1000/float64(n), "go-ms")
	b.ReportMetric((postgresAfter-postgres).Seconds()*1000/float64(n), "pg-ms")
	b.ReportMetric(0, "ns/op")
}
