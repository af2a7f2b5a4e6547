package projections

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// TimeTotal is the sum of time entries of one group, such as one member and one day. A field is nil when totals are not grouped by it, and for time
// without a project, a task or a tag. A running timer has no time yet.
type TimeTotal struct {
	MemberID        *uuid.UUID
	ProjectID       *uuid.UUID
	TaskID          *uuid.UUID
	TagID           *uuid.UUID
	Day             *string // 2006-01-02, by the clock of Brussels
	Week            *string // 2006-W01, of ISO 8601
	Month           *string // 2006-01
	Minutes         int
	BillableMinutes int
	Cents           int // of EUR
}

// timeKeys are the groupings of totals: the column of the answer, the expression of an entry for it, and the form in which it is shown.
var timeKeys = []struct{ by, column, cast, entry, shown string }{
	{"member", "member_id", "uuid", "member_id", "summed.member_id"},
	{"project", "project_id", "uuid", "project_id", "summed.project_id"},
	{"task", "task_id", "uuid", "task_id", "summed.task_id"},
	{"tag", "tag_id", "uuid", "task_id", "tagged.tag_id"},
	{"day", "day", "text", "day", "to_char(summed.day, 'YYYY-MM-DD')"},
	{"week", "week", "text", "day", `to_char(summed.day, 'IYYY-"W"IW')`},
	{"month", "month", "text", "day", "to_char(summed.day, 'YYYY-MM')"},
}

// MaxTotals is the largest number of totals in an answer.
const MaxTotals = 10_000

// Nearly every entry is within one day. An entry over several days is cut at midnight in Brussels. The work up to a midnight is rounded like a whole
// entry, and a part is the difference between two such sums. So the parts of an entry add up to the entry, in minutes and in cents.
const cutAtMidnight = ` cross join lateral (select day::date, upto - before as minutes, case when time_entry.billable
			then (upto * coalesce(time_entry.hourly_rate_cents, 0) + 30) / 60 - (before * coalesce(time_entry.hourly_rate_cents, 0) + 30) / 60 else 0 end as cents
		from generate_series(time_entry.first_day::timestamp, (time_entry."end" at time zone 'Europe/Brussels') - interval '1 microsecond', '1 day') as day, lateral (select
			(extract(epoch from greatest(time_entry.start, day at time zone 'Europe/Brussels') - time_entry.start)::bigint + 30) / 60 as before,
			(extract(epoch from least(time_entry."end", (day + interval '1 day') at time zone 'Europe/Brussels') - time_entry.start)::bigint + 30) / 60 as upto) as so_far
		limit 3) as part` // 24 hours are in three days where one of them has 23; the planner would take it for a thousand

// tagsOfTasks are the tags that tasks have now. A tag that was merged is the one that it was merged into.
const tagsOfTasks = ` left join (select distinct task.id as task_id, now.id as tag_id from task cross join unnest(task.tag_ids) as given (id), ` + tagNow + `
		where old.id = given.id) as tagged on tagged.task_id = summed.task_id`

// partsOfTime are the two kinds of entries, and how the parts of each are read.
var partsOfTime = []struct{ cut, which, day, minutes, cents string }{
	{"", "not time_entry.over_midnight", "time_entry.first_day", "time_entry.minutes", "time_entry.amount_cents"},
	{cutAtMidnight, "time_entry.over_midnight", "part.day", "part.minutes", "part.cents"},
}

// timeTotals sums in two steps: first by what entries have, so that the many are read once and plainly, then by what that makes, such as tags
// of tasks and weeks of days. Time of a task with several tags counts for each. It reads entries, or sums of them.
func timeTotals(sums *Noun[domain.TimeEntry], groups []string) string {
	var entry, shown, grouped []string
	tags := ""
	for _, key := range timeKeys {
		if !slices.Contains(groups, key.by) {
			shown = append(shown, "null::"+key.cast+" as "+key.column)
			continue
		}
		shown, grouped = append(shown, key.shown+" as "+key.column), append(grouped, key.shown)
		if !slices.Contains(entry, key.entry) {
			entry = append(entry, key.entry)
		}
		if key.by == "tag" {
			tags = tagsOfTasks
		}
	}
	var summed []string
	for _, p := range partsOfTime {
		n := *TimeEntries
		n.from += p.cut
		summed = append(summed, sumTime(&n, entry, p.day, p.minutes, p.cents, p.which))
	}
	if sums != nil {
		summed = []string{sumTime(sums, entry, "time_entry.first_day", "time_entry.minutes", "time_entry.amount_cents", "true")}
	}
	sql := "select " + strings.Join(shown, ", ") + `, coalesce(sum(minutes), 0)::bigint as minutes, coalesce(sum(billable_minutes), 0)::bigint as billable_minutes,
			coalesce(sum(cents), 0)::bigint as cents
		from (` + strings.Join(summed, " union all ") + `) as summed` + tags
	if grouped != nil {
		sql += " group by " + strings.Join(grouped, ", ") + " order by " + strings.Join(grouped, ", ")
	}
	return sql + " limit " + strconv.Itoa(MaxTotals+1)
}

// sumTime sums some of the time, by what entries have. The parameters behind those of the list are the first and the last day.
func sumTime(n *Noun[domain.TimeEntry], by []string, day, minutes, cents, which string) string {
	first, last := "$"+strconv.Itoa(n.next)+"::date", "$"+strconv.Itoa(n.next+1)+"::date"
	columns, group := "", ""
	for i, name := range by {
		from := "time_entry." + name
		if name == "day" {
			from = day
		}
		columns += from + " as " + name + ", "
		group += []string{"group by ", ", "}[min(i, 1)] + from
	}
	return n.aggregate(columns+`sum(`+minutes+`) as minutes, sum(`+minutes+`) filter (where time_entry.billable) as billable_minutes, sum(`+cents+`) as cents`,
		`and `+which+` and (`+first+` is null or `+day+` >= `+first+`) and (`+last+` is null or `+day+` <= `+last+`) `+group)
}

// TimeTotals sums the time entries that the actor may see and a filter chooses, by any of member, project, task, tag, day, week and month.
// From first to last, days in Brussels, of an entry counts the part that is in them.
func (p *Projections) TimeTotals(ctx context.Context, by Actor, filter TimeFilter, first, last *domain.Date, groups []string) ([]TimeTotal, Mark, error) {
	sums, filter := filter.summedBy(first, last, groups)
	args := append(TimeEntries.choose(by, false, filter), (*string)(first), (*string)(last))
	//sqlcheck:allow of constants
	rows, mark, err := list[TimeTotal](ctx, p, by.Workspace, timeTotals(sums, groups), args...)
	if err == nil && len(rows) > MaxTotals {
		err = domain.Refuse(domain.Invalid, "too_many_totals", "there are more than %d: ask by less, or for fewer days", MaxTotals)
	}
	return rows, mark, err
}
