package projections

import (
	"context"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// TimeTotal is time that was worked, of one member, of one day, and so on: of what totals are asked by. A field of what they are not
// asked by is nil, as is that of time without a project, a task or a tag. A timer that runs has no time yet.
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

// TimeBy are what totals can be asked by.
var TimeBy = []string{"member", "project", "task", "tag", "day", "week", "month"}

// MaxTotals is how many totals are answered at once.
const MaxTotals = 10_000

// Nearly every entry is of one day. One that is of several is cut at midnight in Brussels. What was worked up to a midnight is rounded as
// the whole entry is, and a part is the difference between two of these: so the parts of an entry add up to it, in minutes and in cents.
const cutAtMidnight = ` cross join lateral (select day::date, upto - before as minutes, case when time_entry.billable
			then (upto * coalesce(time_entry.hourly_rate_cents, 0) + 30) / 60 - (before * coalesce(time_entry.hourly_rate_cents, 0) + 30) / 60 else 0 end as cents
		from generate_series(time_entry.first_day::timestamp, (time_entry."end" at time zone 'Europe/Brussels') - interval '1 microsecond', '1 day') as day, lateral (select
			(extract(epoch from greatest(time_entry.start, day at time zone 'Europe/Brussels') - time_entry.start)::bigint + 30) / 60 as before,
			(extract(epoch from least(time_entry."end", (day + interval '1 day') at time zone 'Europe/Brussels') - time_entry.start)::bigint + 30) / 60 as upto) as so_far
		limit 3) as part` // 24 hours are in three days where one of them has 23; the planner would take it for a thousand

// timeTotals sums in two steps: first by what entries have, so that the many are read once and plainly, then by what that makes, such as tags
// of tasks and weeks of days. A tag that was merged is the one that it was merged into; time of a task with several tags counts for each.
func timeTotals(n *Noun[domain.TimeEntry]) string {
	asked := func(by string) string { return "'" + by + "' = any($" + strconv.Itoa(n.next) + "::text[])" }
	first, last := "$"+strconv.Itoa(n.next+1)+"::date", "$"+strconv.Itoa(n.next+2)+"::date"
	sums := func(of *Noun[domain.TimeEntry], day, minutes, cents, which string) string {
		return of.aggregate(`case when `+asked("member")+` then time_entry.member_id end as member_id, case when `+asked("project")+` then time_entry.project_id end as project_id,
				case when `+asked("task")+` or `+asked("tag")+` then time_entry.task_id end as task_id,
				case when `+asked("day")+` or `+asked("week")+` or `+asked("month")+` then `+day+` end as day,
				sum(`+minutes+`) as minutes, coalesce(sum(`+minutes+`) filter (where time_entry.billable), 0) as billable_minutes, sum(`+cents+`) as cents`,
			`and `+which+` and (`+first+` is null or `+day+` >= `+first+`) and (`+last+` is null or `+day+` <= `+last+`) group by 1, 2, 3, 4`)
	}
	cut := *n
	cut.from += cutAtMidnight
	return `with summed as (` + sums(n, "time_entry.first_day", "time_entry.minutes", "time_entry.amount_cents", "not time_entry.over_midnight") + `
			union all ` + sums(&cut, "part.day", "part.minutes", "part.cents", "time_entry.over_midnight") + `),
		tagged as (select distinct task.id as task_id, now.id as tag_id from task cross join unnest(task.tag_ids) as given (id), ` + tagNow + ` where old.id = given.id)
		select member_id, project_id, case when ` + asked("task") + ` then summed.task_id end as task_id, tag_id,
			case when ` + asked("day") + ` then to_char(day, 'YYYY-MM-DD') end as day, case when ` + asked("week") + ` then to_char(day, 'IYYY-"W"IW') end as week,
			case when ` + asked("month") + ` then to_char(day, 'YYYY-MM') end as month,
			sum(minutes)::bigint as minutes, sum(billable_minutes)::bigint as billable_minutes, sum(cents)::bigint as cents
		from summed left join tagged on tagged.task_id = summed.task_id and ` + asked("tag") + `
		group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7 limit ` + strconv.Itoa(MaxTotals+1)
}

var totalsOfTime = timeTotals(TimeEntries)

// TimeTotals sums the time entries that the actor may see and a filter chooses, by any of TimeBy. From first to last, days in Brussels,
// of an entry counts the part that is in them.
func (p *Projections) TimeTotals(ctx context.Context, by Actor, filter TimeFilter, first, last *domain.Date, groups []string) ([]TimeTotal, Mark, error) {
	groups = append([]string{}, groups...)
	args := append(TimeEntries.choose(by, false, filter), groups, (*string)(first), (*string)(last))
	rows, mark, err := list[TimeTotal](ctx, p, by.Workspace, totalsOfTime, args...) //sqlcheck:allow made once, of constants
	switch {
	case err != nil:
		return nil, mark, err
	case len(rows) > MaxTotals:
		return nil, mark, domain.Refuse(domain.Invalid, "too_many_totals", "there are more than %d: ask by less, or for fewer days", MaxTotals)
	case len(rows) == 0 && !slices.ContainsFunc(TimeBy, func(by string) bool { return slices.Contains(groups, by) }):
		rows = []TimeTotal{{}}
	}
	return rows, mark, nil
}
