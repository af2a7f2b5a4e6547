package projections

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// manyTimes puts entries of 20 members into the table, of 40 projects and 2,000 tasks of which each has two tags, over two years: one in
// a hundred is over midnight.
func (p *process) manyTimes(t testing.TB, by Actor, entries int) (one uuid.UUID) {
	t.Helper()
	p.task(t, by, "x")
	if _, err := p.CatchUp(t.Context(), by.Workspace); err != nil {
		t.Fatal(err)
	}
	conn := p.superuser(t)
	for _, sql := range []string{
		`set search_path to ` + by.Workspace.Schema(),
		`create temp table k as select n, gen_random_uuid() as id from generate_series(0, 1999) as n`,
		`create index on k (n)`,
		`insert into tag (id, name, name_key, created_by, created_at, updated_at, version, position)
			select id, n::text, n::text, id, now(), now(), 1, 1 from k where n < 50`,
		`insert into task select (json_populate_record(task, json_build_object('id', its.id, 'tag_ids', array(select id from k where n in (its.n % 50, its.n * 7 % 50))))).*
			from task cross join k as its`,
		`insert into time_entry (id, member_id, task_id, project_id, start, "end", minutes, activity, billable, hourly_rate_cents, amount_cents, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), member.id, task.id, project.id, start, start + interval '90 minutes', 90, 'development', i % 3 > 0, 8500, case when i % 3 > 0 then 12750 else 0 end,
				member.id, start, start, 1, i
			from generate_series(1, ` + strconv.Itoa(entries) + `) as i
			join k as member on member.n = i % 20 join k as task on task.n = i % 2000 join k as project on project.n = i % 40,
			lateral (select timestamptz '2025-01-01 08:00+01' + make_interval(days => i % 700, hours => case when i % 100 = 0 then 15 else i % 9 end)) as of (start)`,
		`analyze task`, `analyze tag`, `analyze time_entry`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	var all []uuid.UUID
	if err := conn.QueryRow(t.Context(), `select array_agg(id) from time_entry`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), timeSums.adds, all, 1); err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// BenchmarkTimeTotals sums 100,000 time entries. The baseline is a look-up by primary key, of the same kind, in the same run.
func BenchmarkTimeTotals(b *testing.B) {
	p := newProcess(b)
	by := p.found(b)
	one := p.manyTimes(b, by, 100_000)
	p.admin(b, `vacuum analyze`)
	took := func(n int, do func() error) time.Duration {
		best := time.Hour
		for range n {
			begun := time.Now()
			if err := do(); err != nil {
				b.Fatal(err)
			}
			best = min(best, time.Since(begun))
		}
		return best
	}
	from, to := domain.Date("2026-03-01"), domain.Date("2026-03-31")
	month := func() TimeFilter {
		first, last := from.Begin(), to.End()
		return TimeFilter{From: &first, To: &last}
	}
	for b.Loop() {
		lookUp := took(50, func() error { _, _, err := TimeEntries.Get(b.Context(), p.Projections, by, one); return err })
		b.ReportMetric(lookUp.Seconds()*1000, "look-up-ms")
		var sum int
		plain := took(7, func() error {
			return p.db.Read(b.Context(), by.Workspace, pg.Exec(`select sum(minutes) from time_entry where deleted_at is null`).Scan(&sum))
		})
		b.ReportMetric(plain.Seconds()/lookUp.Seconds(), "plain-sum-x")
		for _, groups := range []string{"member", "project,task", "tag", "day", "member,month", "week,member,project"} {
			all := took(7, func() error {
				_, _, err := p.TimeTotals(b.Context(), by, TimeFilter{}, nil, nil, strings.Split(groups, ","))
				return err
			})
			b.ReportMetric(all.Seconds()/lookUp.Seconds(), groups+"-x")
		}
		narrow := took(7, func() error {
			_, _, err := p.TimeTotals(b.Context(), by, month(), &from, &to, []string{"member", "day"})
			return err
		})
		b.ReportMetric(narrow.Seconds()/lookUp.Seconds(), "one-month-x")
		b.ReportMetric(0, "ns/op")
	}
}
