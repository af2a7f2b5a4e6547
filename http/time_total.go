package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	timeTotalsAsked struct {
		TimeChoice
		By []string `query:"by" enum:"member,project,task,tag,day,week,month" maxItems:"7" example:"member,month" doc:"By which the totals are, comma separated. Left out: one total of all."`
	}
	timeTotal struct {
		MemberID        optional[uuid.UUID]   `json:"member_id,omitzero" doc:"With by=member."`
		ProjectID       nullable[uuid.UUID]   `json:"project_id,omitzero" doc:"With by=project; null for time of no project."`
		TaskID          nullable[uuid.UUID]   `json:"task_id,omitzero" doc:"With by=task; null for time of no task."`
		TagID           nullable[uuid.UUID]   `json:"tag_id,omitzero" doc:"With by=tag: a tag that the task has now. Time of a task with several tags is in the total of each of them; null for time without a tag."`
		Day             optional[domain.Date] `json:"day,omitzero" example:"2026-03-02" doc:"With by=day: a day in Brussels. An entry over midnight counts in each day with its part; the parts add up to the entry, in minutes and in cents."`
		Week            optional[string]      `json:"week,omitzero" example:"2026-W10" doc:"With by=week: a week of ISO 8601, which begins on Monday."`
		Month           optional[string]      `json:"month,omitzero" example:"2026-03" doc:"With by=month."`
		Minutes         int                   `json:"minutes" example:"480"`
		BillableMinutes int                   `json:"billable_minutes" example:"420"`
		Cents           int                   `json:"cents" example:"59500" doc:"Of EUR: the sum of the entries' amount_cents."`
	}
	timeTotals struct {
		Items []timeTotal `json:"items"`
	}
)

func timeTotalsOperation(a *api) {
	register(a, operation{Method: "GET", Path: "/api/time-entries/totals", ID: "get-time-totals", Tag: "time", Status: http.StatusOK,
		Summary: "How much time was worked", Access: needs(domain.ReadTimeEntry),
		Description: "Totals of the time entries that the list shows with the same filters, in minutes and in cents. From and to take the parts of entries that are in these days. Timers that run are not counted. More than 10,000 totals are 422."},
		func(ctx context.Context, by projections.Actor, in *timeTotalsAsked) (*shows[timeTotals], error) {
			filter, err := a.timeFilter(ctx, by, in.TimeChoice)
			if err != nil {
				return nil, err
			}
			rows, mark, err := a.Projections.TimeTotals(ctx, by, filter, in.From.Value, in.To.Value, in.By)
			body := timeTotals{Items: make([]timeTotal, len(rows))}
			for i, row := range rows {
				body.Items[i] = in.show(row)
			}
			return &shows[timeTotals]{queryHeaders(mark, 0), body}, err
		})
}

// show is a total with the fields that are asked for, and no others.
func (in *timeTotalsAsked) show(row projections.TimeTotal) timeTotal {
	t := timeTotal{Minutes: row.Minutes, BillableMinutes: row.BillableMinutes, Cents: row.Cents}
	for _, by := range in.By {
		switch by {
		case "member":
			t.MemberID.Optional = domain.Optional[uuid.UUID]{Set: true, Value: row.MemberID}
		case "project":
			t.ProjectID.Optional = domain.Optional[uuid.UUID]{Set: true, Value: row.ProjectID}
		case "task":
			t.TaskID.Optional = domain.Optional[uuid.UUID]{Set: true, Value: row.TaskID}
		case "tag":
			t.TagID.Optional = domain.Optional[uuid.UUID]{Set: true, Value: row.TagID}
		case "day":
			t.Day.Optional = domain.Optional[domain.Date]{Set: true, Value: (*domain.Date)(row.Day)}
		case "week":
			t.Week.Optional = domain.Optional[string]{Set: true, Value: row.Week}
		case "month":
			t.Month.Optional = domain.Optional[string]{Set: true, Value: row.Month}
		}
	}
	return t
}
