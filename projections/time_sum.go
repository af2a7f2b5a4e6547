package projections

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// sums is a table of sums over the rows of a read model. Whoever stores rows takes away what the rows that were there made of the sums, and
// adds what those make that are there now.
type sums struct {
	name    string
	columns string
	adds    string // adds what the rows $1 make, $2 times: once, or -1 times
	clears  string // deletes what nothing is in any longer
}

func (s *sums) table() string      { return s.name }
func (s *sums) columnList() string { return s.columns }

// without are the statements that take rows out of the sums, before the rows change.
func (s *sums) without(ids []uuid.UUID) []pg.Statement {
	if s == nil || len(ids) == 0 {
		return nil
	}
	return []pg.Statement{pg.Exec(s.adds, ids, -1)} //sqlcheck:allow a constant of the noun
}

// with are the statements that take rows into the sums.
func (s *sums) with(ids []uuid.UUID) []pg.Statement {
	if s == nil || len(ids) == 0 {
		return nil
	}
	return []pg.Statement{pg.Exec(s.adds, ids, 1), pg.Exec(s.clears)} //sqlcheck:allow constants of the noun
}

// timeSums are the sums of what was worked. Each entry is in two rows: in one of the days on which it was, of all tasks; and in one of its
// task, of all days. What is asked of both, as of a task by month, is in no sum.
var timeSums = &sums{
	name:    "time_sum",
	columns: "id, member_id, project_id, task_id, billable, day, entries, minutes, cents",
	adds: `insert into time_sum as before (id, member_id, project_id, task_id, billable, day, entries, minutes, cents)
		select encode(substring(sha256(row (member_id, project_id, task_id, billable, day)::text::bytea) for 16), 'hex')::uuid, member_id, project_id, task_id, billable, day,
			$2::bigint * count(*), $2::bigint * sum(minutes)::bigint, $2::bigint * sum(cents)::bigint
		from (` + timeParts(`time_entry.id = any($1) and time_entry.deleted_at is null`) + `) as part
		group by grouping sets ((member_id, project_id, billable, day), (member_id, project_id, billable, task_id))
		on conflict (id) do update set entries = before.entries + excluded.entries, minutes = before.minutes + excluded.minutes, cents = before.cents + excluded.cents`,
	clears: `delete from time_sum where entries = 0`,
}

// timeParts are the parts of entries in days.
func timeParts(which string) string {
	var parts []string
	for _, p := range partsOfTime {
		parts = append(parts, `select time_entry.member_id, time_entry.project_id, time_entry.task_id, time_entry.billable, `+
			p.day+` as day, `+p.minutes+` as minutes, `+p.cents+` as cents from time_entry`+p.cut+` where `+p.which+` and `+which)
	}
	return strings.Join(parts, " union all ")
}

// sumsAsEntries are sums in the columns that totals read of entries, so that the same condition chooses of them, scope and all.
func sumsAsEntries(which string) *Noun[domain.TimeEntry] {
	n := *TimeEntries
	n.from = ` from (select member_id, project_id, task_id, billable, day as first_day, minutes, cents as amount_cents,
			null::timestamptz as start, null::timestamptz as "end", null::timestamptz as deleted_at from time_sum where ` + which + `) as time_entry`
	return &n
}

var (
	timeByDay  = sumsAsEntries("day is not null")
	timeByTask = sumsAsEntries("day is null")
)

// summedBy gives the sums that totals can be made of, and the filter that chooses of them; nil when they are made of entries.
func (f TimeFilter) summedBy(first, last *domain.Date, groups []string) (*Noun[domain.TimeEntry], TimeFilter) {
	among := func(all ...string) bool {
		return slices.ContainsFunc(groups, func(by string) bool { return slices.Contains(all, by) })
	}
	ofTask := f.Task.Any != nil || f.Task.None || f.Tag != nil || among("task", "tag")
	ofDay := first != nil || last != nil || among("day", "week", "month")
	inDays := (first == nil && f.From == nil || first != nil && f.From != nil && f.From.Equal(first.Begin())) &&
		(last == nil && f.To == nil || last != nil && f.To != nil && f.To.Equal(last.End()))
	if ofTask && ofDay || !inDays || f.Running != nil {
		return nil, f
	}
	f.From, f.To = nil, nil // the days say so
	if ofTask {
		return timeByTask, f
	}
	return timeByDay, f
}
