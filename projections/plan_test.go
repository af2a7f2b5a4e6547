package projections

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// crowded is a workspace with many tasks, written straight into the read models. Most tasks are of few people and projects.
type crowded struct {
	*process
	by                                  Actor
	busy, idle, everywhere              uuid.UUID // a member with a tenth of the tasks, one with three, one who is in many projects
	project, small, parent, tag, seldom uuid.UUID
	projects                            []uuid.UUID // that everywhere is a member of
}

// chance is what stands for a number that looks random: OF(n, m) is below m, the n-th of a row; ONE(n, m) holds for one row of m.
var chance = regexp.MustCompile(`(OF|ONE)\((\d+), (\d+)\)`)

func newCrowded(t testing.TB, tasks int) *crowded {
	t.Helper()
	c := &crowded{process: newProcess(t)}
	c.by = c.found(t)
	if _, err := c.CatchUp(context.Background(), c.by.Workspace); err != nil {
		t.Fatal(err)
	}
	conn := c.superuser(t)
	for _, sql := range []string{
		`set search_path to ` + c.by.Workspace.Schema() + `, pg_temp`,
		`create function pg_temp.of(bigint) returns bigint immutable language sql as 'select abs($1)'`,
		`create function pg_temp.one(bigint) returns boolean immutable language sql as 'select $1 = 0'`,
		`create temp table person as select n, gen_random_uuid() as id from generate_series(0, 499) as n`,
		`create temp table label as select n, gen_random_uuid() as id from generate_series(0, 99) as n`,
		`insert into project (id, key, name, description, status, member_ids, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), 'K' || chr(65 + g / 26) || chr(65 + g % 26), 'x', '', 'active', array[(select id from person where n = g % 500)], (select id from person where n = g), now(), now(), 1, g
			from generate_series(1, 200) as g`,
		// three tasks of person 499, a tenth of person 1, the rest of all; a label on half, another on few; most done; a day for half
		chance.ReplaceAllString(`insert into task (id, title, description, status, priority, start_on, due_on, project_id, key, parent_id, assignee_ids, viewer_ids, tag_ids, relations, rank,
				external_source, external_id, created_by, created_at, updated_at, deleted_at, version, position)
			select gen_random_uuid(), 'task ' || g, '', case when ONE(1, 1000) then 'cancelled' when ONE(2, 50) then 'in_progress' when ONE(3, 5) then 'open' else 'done' end,
				case when ONE(4, 1000) then 'urgent' when ONE(5, 10) then 'high' else 'none' end,
				case when ONE(6, 4) then date '2026-01-01' + OF(7, 200)::int end, case when ONE(8, 2) then date '2026-01-01' + OF(9, 200)::int end,
				project.id, project.key || '-' || g, case when ONE(10, 100) then '01900000-0000-7000-8000-000000000001'::uuid end,
				case when g < 4 then array[idle.id] when ONE(11, 10) then array[busy.id] else array[one.id] end,
				case when ONE(12, 3) then array[two.id] else '{}' end,
				case when ONE(13, 2) then array[(select id from label where n = 0)] when ONE(14, 4000) then array[(select id from label where n = 1)] else '{}' end,
				'[]', lpad(OF(15, 100000000)::text, 9, '0'), case when ONE(16, 1000) then 'jira' end, case when ONE(16, 1000) then 'J-' || g end,
				three.id, now() - make_interval(secs => OF(17, 9000000)), now() - make_interval(secs => OF(18, 9000000)), case when ONE(19, 2000) then now() end, 1, g
			from generate_series(1, `+strconv.Itoa(tasks)+`) as g
			join project on project.position = 1 + (case when ONE(20, 5) then 0 when ONE(21, 1000) then 1 else 2 + OF(22, 190) end)
			join person as idle on idle.n = 499 join person as busy on busy.n = 1 join person as one on one.n = 2 + OF(23, 400)
			join person as two on two.n = OF(24, 450) join person as three on three.n = OF(25, 490)`, `pg_temp.$1(hashint4extended(g, $2) % $3)`),
		`insert into search (id, of_id, title, body, version, position) select id, id, array_to_tsvector(array['task', 'word' || position % 5000, 'common' || position % 3]), '', 1, 1 from task`,
		`vacuum analyze task`, `analyze search`, `analyze project`,
	} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	for _, q := range []struct {
		sql  string
		into *uuid.UUID
	}{{`select id from person where n = 1`, &c.busy}, {`select id from person where n = 499`, &c.idle}, {`select id from person where n = 5`, &c.everywhere},
		{`select id from label where n = 0`, &c.tag}, {`select id from label where n = 1`, &c.seldom},
		{`select id from project where position = 1`, &c.project}, {`select id from project where position = 2`, &c.small}} {
		if err := conn.QueryRow(context.Background(), q.sql).Scan(q.into); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRow(context.Background(), `select array_agg(id) from project where member_ids @> array[$1::uuid]`, c.everywhere).Scan(&c.projects); err != nil {
		t.Fatal(err)
	}
	c.parent = uuid.MustParse("01900000-0000-7000-8000-000000000001")
	return c
}

// asked is one request for a list.
type asked struct {
	name   string
	filter TaskFilter
	page   Page
}

// filters are one of each.
func (c *crowded) filters() (all []asked) {
	add := func(name string, f TaskFilter, p Page) { all = append(all, asked{name, f, p}) }
	of := func(ids ...uuid.UUID) IDs { return IDs{Any: ids} }
	soon, late := domain.Date("2026-01-03"), domain.Date("2200-01-01")
	since, long := time.Now().Add(-time.Hour), time.Now().Add(-9999*time.Hour)
	source := "jira"
	add("all", TaskFilter{}, Page{})
	add("an open one", TaskFilter{Status: []string{"open"}}, Page{})
	add("a rare status", TaskFilter{Status: []string{"cancelled"}}, Page{})
	add("two statuses", TaskFilter{Status: []string{"in_progress", "cancelled"}}, Page{})
	add("a rare priority", TaskFilter{Priority: []string{"urgent"}}, Page{})
	add("a busy assignee", TaskFilter{Assignee: of(c.busy)}, Page{})
	add("an idle assignee", TaskFilter{Assignee: of(c.idle)}, Page{})
	add("two assignees", TaskFilter{Assignee: of(c.idle, c.busy)}, Page{})
	add("a viewer", TaskFilter{Viewer: of(c.everywhere)}, Page{})
	add("no viewer", TaskFilter{Viewer: IDs{None: true}}, Page{})
	add("a tag", TaskFilter{Tag: of(c.tag)}, Page{})
	add("a rare tag", TaskFilter{Tag: of(c.seldom)}, Page{})
	add("a project", TaskFilter{Project: of(c.project)}, Page{})
	add("a small project", TaskFilter{Project: of(c.small)}, Page{})
	add("two projects", TaskFilter{Project: of(c.small, c.project)}, Page{})
	add("a parent", TaskFilter{Parent: of(c.parent)}, Page{})
	add("no parent", TaskFilter{Parent: IDs{None: true}}, Page{})
	add("a creator", TaskFilter{Creator: []uuid.UUID{c.everywhere}}, Page{})
	add("due soon", TaskFilter{DueBefore: &soon}, Page{})
	add("due late", TaskFilter{DueAfter: &late}, Page{})
	add("due on a day", TaskFilter{DueFirst: &soon, DueLast: &soon}, Page{})
	add("no day", TaskFilter{NoDue: true}, Page{})
	add("changed lately", TaskFilter{Since: &since}, Page{})
	add("changed ever", TaskFilter{Since: &long}, Page{})
	add("a source", TaskFilter{Source: &source}, Page{})
	add("deleted", TaskFilter{}, Page{Deleted: true})
	add("a rare word", TaskFilter{}, Page{Text: "word77"})
	add("a common word", TaskFilter{}, Page{Text: "common1"})
	return all
}

// actors are one for each scope.
func (c *crowded) actors() map[string]Actor {
	all := map[string]Actor{}
	for name, a := range map[string]struct {
		member uuid.UUID
		scope  domain.Scope
	}{"all": {c.busy, domain.All}, "own, busy": {c.busy, domain.Own}, "own, idle": {c.idle, domain.Own}, "project": {c.everywhere, domain.InProject}} {
		by := c.by
		by.Member, by.Role.Grants = a.member, domain.Grants{{Resource: "task", Action: "read", Scope: a.scope}, {Resource: "comment", Action: "read", Scope: a.scope}}
		all[name] = by
	}
	return all
}

var (
	inWhole = regexp.MustCompile(`Seq Scan on (task|search|comment)\b`)
	removed = regexp.MustCompile(`Rows Removed by (?:Filter|Index Recheck|Join Filter): (\d+)`)
	actual  = regexp.MustCompile(`actual rows=(\d+)`)
)

// lists calls do for each filter, over each scope, in each order.
func (c *crowded) lists(do func(name string, by Actor, page Page, filter TaskFilter)) {
	for scope, by := range c.actors() {
		for _, a := range c.filters() {
			for i, field := range append([]string{""}, Tasks.SortedBy()...) {
				page := a.page
				page.Limit = 50
				if field != "" {
					page.Sort = []string{[]string{"", "-"}[i%2] + field}
				}
				do(fmt.Sprintf("%s, %s, sorted by %v", scope, a.name, page.Sort), by, page, a.filter)
			}
		}
	}
}

// With any filter, scope and order, a list reads no table in whole and few rows beyond those that it shows. Postgres begins with the filter, the
// scope or the order, whichever leaves the fewest rows.
func TestPlansOfLists(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 30_000)
	c.lists(func(name string, by Actor, page Page, filter TaskFilter) {
		if by.Scope(domain.ReadTask) == domain.InProject {
			page.projects = c.projects
		}
		q, err := Tasks.query(by, page, filter)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		if err := c.db.Read(minute(t), by.Workspace, pg.PlanEach(), pg.Column(&plan, "explain (analyze, costs off, timing off) "+q.sql, q.args...)); err != nil {
			t.Fatal(err)
		}
		if most := read(plan); inWhole.MatchString(strings.Join(plan, "\n")) || most > 8000 {
			t.Errorf("%s: %d rows\n%s", name, most, strings.Join(plan, "\n"))
		}
	})
}

// A list that is planned once reads the index in its order, from any place and for any value.
func TestPlanOfPlainLists(t *testing.T) {
	t.Parallel()
	c := newCrowded(t, 30_000)
	conn := c.superuser(t)
	if _, err := conn.Exec(minute(t), `set search_path to `+c.by.Workspace.Schema()+`; set plan_cache_mode to force_generic_plan; set enable_seqscan to off`); err != nil {
		t.Fatal(err)
	}
	planned, prepared := map[string]bool{}, 0
	c.lists(func(name string, by Actor, page Page, filter TaskFilter) {
		if _, _, is := Tasks.plain(by, page, filter); !is {
			return
		}
		long := page
		long.Limit = 200
		all, _, err := Tasks.List(minute(t), c.Projections, by, long, filter)
		if err != nil || len(all) == 0 {
			t.Fatal(name, len(all), err)
		}
		middle := len(all) / 2
		after := Tasks.After(all[middle], page.Sort)
		for i, place := range []*After{nil, &after} {
			page.After = place
			q, err := Tasks.query(by, page, filter)
			if err != nil || !q.once {
				t.Fatal(name, q, err)
			}
			var given []string
			for _, arg := range q.args {
				given = append(given, literal(arg))
			}
			if _, err := conn.Exec(minute(t), fmt.Sprintf("prepare list%d as %s", prepared, q.sql)); err != nil {
				t.Fatal(err)
			}
			rows, err := conn.Query(minute(t), fmt.Sprintf(`explain (analyze, costs off, timing off) execute list%d (%s)`, prepared, strings.Join(given, ", ")))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil || read(plan) > 100 {
				t.Errorf("%s, at %v: %v\n%s", name, place, err, strings.Join(plan, "\n"))
			}
			rest := all[i*(middle+1):]
			some, _, err := Tasks.List(minute(t), c.Projections, by, page, filter)
			if err != nil || len(some) != min(51, len(rest)) || len(some) > 0 && some[len(some)-1].ID != rest[len(some)-1].ID {
				t.Errorf("%s, at %v: %d of a page, %v", name, place, len(some), err)
			}
			planned[q.sql] = true
			prepared++
		}
	})
	if len(planned) < 2*(1+8+5) { // at the beginning and behind a place: of all, in each order, by each filter
		t.Errorf("%d lists are planned once", len(planned))
	}
}

// literal is an argument as a constant of SQL.
func literal(arg any) string {
	switch v := arg.(type) {
	case nil:
		return "null"
	case time.Time:
		arg = v.Format(time.RFC3339Nano)
	case *string:
		return literal(*v)
	}
	return "'" + strings.ReplaceAll(fmt.Sprint(arg), "'", "''") + "'"
}

// read gives the largest number of rows that one step of a plan read. A step that only marks rows in a bitmap reads none.
func read(plan []string) (most int) {
	for _, line := range plan {
		for _, pattern := range []*regexp.Regexp{removed, actual} {
			if match := pattern.FindStringSubmatch(line); match != nil && !strings.Contains(line, "Bitmap Index Scan") {
				n, _ := strconv.Atoi(match[1])
				most = max(most, n)
			}
		}
	}
	return most
}

// BenchmarkLists lists 50 of 100,000 tasks with each filter, over each scope, in each order: how many times as long as a look-up of one task
// by its id takes at the same time. Each is asked for seven times by turns, and the fastest counts.
func BenchmarkLists(b *testing.B) {
	c := newCrowded(b, 100_000)
	ctx := context.Background()
	rows, _, err := c.ListTasks(ctx, c.by, TaskFilter{}, Page{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	took := func(do func() error) time.Duration {
		begun := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		return time.Since(begun)
	}
	for b.Loop() {
		var ratios []float64
		c.lists(func(name string, by Actor, page Page, filter TaskFilter) {
			one, list := time.Hour, time.Hour
			for range 7 {
				one = min(one, took(func() error { _, _, err := Tasks.Get(ctx, c.Projections, c.by, rows[0].ID); return err }))
				list = min(list, took(func() error { _, _, err := c.ListTasks(ctx, by, filter, page); return err }))
			}
			x := list.Seconds() / one.Seconds()
			ratios = append(ratios, x)
			if os.Getenv("KLUIS_BENCH_LISTS") != "" {
				fmt.Printf("%.1f x, %s for %s: %s\n", x, list, one, name)
			}
		})
		slices.Sort(ratios)
		over := len(ratios) - sort.SearchFloat64s(ratios, 10)
		b.ReportMetric(100*float64(over)/float64(len(ratios)), "over-10x-%")
		b.ReportMetric(ratios[len(ratios)/2], "median-x")
		b.ReportMetric(ratios[len(ratios)*95/100], "p95-x")
		b.ReportMetric(ratios[len(ratios)-1], "worst-x")
		b.ReportMetric(0, "ns/op")
	}
}
