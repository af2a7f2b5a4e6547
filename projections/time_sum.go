package projections

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// sums is a table of sums over the rows of a read model. Each store of rows subtracts the earlier rows from the sums and adds the new ones.
type sums struct {
	name    string
	columns string
	adds    string // adds the rows $1, or subtracts them when $2 is -1
	clears  string // deletes sums over no rows
}

func (s *sums) table() string      { return s.name }
func (s *sums) columnList() string { return s.columns }

// without gives the statements that subtract rows from the sums, before the rows change.
func (s *sums) without(ids []uuid.UUID) []pg.Statement {
	if s == nil || len(ids) == 0 {
		return nil
	}
	return []pg.Statement{pg.Exec(s.adds, ids, -1)} //sqlcheck:allow a constant of the noun
}

// with gives the statements that add rows to the sums.
func (s *sums) with(ids []uuid.UUID) []pg.Statement {
	if s == nil || len(ids) == 0 {
		return nil
	}
	return []pg.Statement{pg.Exec(s.adds, ids, 1), pg.Exec(s.clears)} //sqlcheck:allow constants of the noun
}

// timeSums are the sums of time entries. Each entry counts in two kinds of rows: those of its days, over all tasks, and that of its task, over all
// days. Totals by task and time together are made from entries.
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

// timeParts gives the parts of entries by day.
func timeParts(which string) string {
	var parts []string
	for _, p := range partsOfTime {
		parts = append(parts, `select time_entry.member_id, time_entry.project_id, time_entry.task_id, time_entry.billable, `+
			p.day+` as day, `+p.minutes+` as minutes, `+p.cents+` as cents from time_entry`+p.cut+` where `+p.which+` and `+which)
	}
	return strings.Join(parts, " union all ")
}

// sumsAsEntries gives sums in the columns of entries, so that the same conditions, with the scope, apply to them.
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

// summedBy gives the sums from which totals can be made, with the filter for them; nil when the totals are made from entries.
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
	f.From, f.To = nil, nil // the condition on days says the same
	if ofTask {
		return timeByTask, f
	}
	return timeByDay, f
}
