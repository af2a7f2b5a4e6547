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

// BenchmarkFleet makes KLUIS_BENCH_WORKSPACES workspaces (100), and measures what depends on how many there are: what a start does (prepare,
// doors; selftest goes on beside serving), with ten workspaces as well, and how many a further migration of a column reaches in a minute, beside the bare statements, four at
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
				starts(b, d, "10")
			}
			all = append(all, provision(b, d))
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000/float64(n), "provision-ms")
		starts(b, d, "")

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

// starts reports how long each thing takes that a server does when it starts with nothing to migrate, and the self-test, which goes on beside serving.
func starts(b *testing.B, d *tenancy.Tenancy, with string) {
	b.Helper()
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{{"prepare", d.Prepare}, {"doors", d.DoorsTest}, {"selftest", d.SelfTest}} {
		begun := time.Now()
		if err := part.do(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000, part.name+with+"-ms")
	}
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
