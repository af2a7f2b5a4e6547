package tenancy_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// BenchmarkFleet makes KLUIS_BENCH_WORKSPACES workspaces (100), and measures what depends on how many there are: what a start does before it serves
// (idle-ms, check-ms), beside ten workspaces, and how many a further migration of a column reaches in a minute, beside the bare statements, four at
// once as well (bare/min).
func BenchmarkFleet(b *testing.B) {
	n := 100
	if given, err := strconv.Atoi(os.Getenv("KLUIS_BENCH_WORKSPACES")); err == nil {
		n = given
	}
	for b.Loop() {
		url := newDatabase(b)
		db := open(b, url, 8)
		d := directory(b, db)
		var all []pg.Workspace
		begun := time.Now()
		for i := range n {
			if i == 10 {
				idle, check := starts(b, d)
				b.ReportMetric(idle.Seconds()*1000, "idle10-ms")
				b.ReportMetric(check.Seconds()*1000, "check10-ms")
			}
			all = append(all, provision(b, d))
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000/float64(n), "provision-ms")
		idle, check := starts(b, d)
		b.ReportMetric(idle.Seconds()*1000, "idle-ms")
		b.ReportMetric(check.Seconds()*1000, "check-ms")

		begun = time.Now()
		bare(b, url, all)
		b.ReportMetric(float64(n)/time.Since(begun).Minutes(), "bare/min")
		begun = time.Now()
		if err := directory(b, open(b, url, 8), further("alter table task add column further_one int")).Migrate(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/time.Since(begun).Minutes(), "migrated/min")
	}
	b.ReportMetric(0, "ns/op")
}

// starts is how long a migration with nothing to do takes, and the test of roles and grants.
func starts(b *testing.B, d *tenancy.Tenancy) (idle, check time.Duration) {
	b.Helper()
	begun := time.Now()
	if err := d.Prepare(context.Background()); err != nil {
		b.Fatal(err)
	}
	idle = time.Since(begun)
	begun = time.Now()
	if err := d.SelfTest(context.Background()); err != nil {
		b.Fatal(err)
	}
	return idle, time.Since(begun)
}

// bare adds a column to a table of each workspace.
func bare(b *testing.B, url string, all []pg.Workspace) {
	b.Helper()
	var running sync.WaitGroup
	for i := range 4 {
		conn := superuser(b, url)
		running.Go(func() {
			for ; i < len(all); i += 4 {
				if _, err := conn.Exec(context.Background(), `alter table `+pgx.Identifier{all[i].Schema(), "task"}.Sanitize()+` add column bare int`); err != nil {
					b.Error(err)
				}
			}
		})
	}
	running.Wait()
}
