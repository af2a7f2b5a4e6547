package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	timeFields struct {
		MemberID  *uuid.UUID `json:"member_id,omitempty" doc:"Whose time it is, for a caller who may write down that of others. Left out: the caller's."`
		TaskID    *uuid.UUID `json:"task_id,omitempty" doc:"The entry is of the project, too, in which the task is at the moment; there it stays when the task moves."`
		ProjectID *uuid.UUID `json:"project_id,omitempty" doc:"For time of a project and of no task. With task_id it must be the project of the task."`
		Start     string     `json:"start" minLength:"16" maxLength:"40" example:"2026-03-02T09:00:00+01:00" doc:"With an offset (RFC 3339), or without one by the clock of Brussels. A time there that was skipped or came twice, when the clocks were changed, needs an offset. Seconds are the finest."`
		End       *string    `json:"end,omitempty" minLength:"16" maxLength:"40" example:"2026-03-02T10:30:00+01:00" doc:"As start. Either this or minutes; at most 24 hours after the start."`
		Minutes   *int       `json:"minutes,omitempty" minimum:"1" maximum:"1440" example:"90" doc:"Instead of end."`
		Activity  string     `json:"activity,omitempty" maxLength:"500" example:"design" doc:"What was done."`
		Billable  *bool      `json:"billable,omitempty" doc:"Left out: true."`
	}
	timePatch struct {
		TaskID    nullable[uuid.UUID] `json:"task_id,omitzero" doc:"The entry goes to the project of that task, and gets the rate there."`
		ProjectID nullable[uuid.UUID] `json:"project_id,omitzero"`
		Start     optional[string]    `json:"start,omitzero" minLength:"16" maxLength:"40" doc:"As when the entry was made. The end stays where it is."`
		End       optional[string]    `json:"end,omitzero" minLength:"16" maxLength:"40" doc:"A timer that runs is stopped at that instant."`
		Minutes   optional[int]       `json:"minutes,omitzero" minimum:"1" maximum:"1440" doc:"Instead of end."`
		Activity  optional[string]    `json:"activity,omitzero" maxLength:"500"`
		Billable  optional[bool]      `json:"billable,omitzero"`
	}
	timerFields struct {
		TaskID    *uuid.UUID `json:"task_id,omitempty" doc:"As for a time entry."`
		ProjectID *uuid.UUID `json:"project_id,omitempty"`
		Activity  string     `json:"activity,omitempty" maxLength:"500" example:"design"`
		Billable  *bool      `json:"billable,omitempty" doc:"Left out: true."`
	}
	timerEnd struct {
		End *string `json:"end,omitempty" minLength:"16" maxLength:"40" example:"2026-03-02T17:00:00+01:00" doc:"When the work ended, for a caller who forgot the timer. Left out: now."`
	}
	timerStop struct {
		Idempotent
		Body *timerEnd
	}
	timerStart struct {
		Idempotent
		Body *timerFields
	}
	timer struct {
		Running *domain.TimeEntry `json:"running,omitempty" doc:"The entry whose timer runs; left out when none does."`
	}

	// TimeChoice chooses time entries, in a list and for totals.
	TimeChoice struct {
		MemberID  Refs        `query:"member_id" doc:"Of any of these members: ids, comma separated."`
		TaskID    RefsOrNone  `query:"task_id" doc:"Of any of these tasks; none stands for no task."`
		ProjectID projectRefs `query:"project_id" doc:"Of any of these projects: ids or keys; none stands for no project."`
		TagID     Refs        `query:"tag_id" doc:"Of tasks with any of these tags."`
		Billable  Flag        `query:"billable"`
		From      Day         `query:"from" doc:"From this day on, as it begins in Brussels."`
		To        Day         `query:"to" doc:"Up to this day, as it ends in Brussels."`
	}
	timeList struct {
		Sorted
		TimeChoice
		Running Flag `query:"running" doc:"Timers that run, or all but those."`
	}
)

func (a *api) timeFilter(ctx context.Context, by projections.Actor, c TimeChoice) (f projections.TimeFilter, err error) {
	f = projections.TimeFilter{Member: c.MemberID.Values, Task: c.TaskID.ids(), Tag: c.TagID.Values, Billable: c.Billable.Value}
	if c.From.Value != nil {
		from := c.From.Value.Begin()
		f.From = &from
	}
	if c.To.Value != nil {
		to := c.To.Value.End()
		f.To = &to
	}
	f.Project, err = a.projects(ctx, by, c.ProjectID)
	return f, err
}

func timeEntry(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/time-entries", ID: "list-time-entries", Tag: "time", Status: http.StatusOK,
		Summary: "List time entries", Access: needs(domain.ReadTimeEntry),
		Description: "With from and to: the entries of which a part is in these days. A timer that runs is of the day on which it was started."},
		projections.TimeEntries,
		func(ctx context.Context, by projections.Actor, in *timeList, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			filter, err := a.timeFilter(ctx, by, in.TimeChoice)
			if err != nil {
				return nil, projections.Mark{}, err
			}
			filter.Running = in.Running.Value
			return projections.TimeEntries.ListShown(ctx, a.Projections, by, page, filter)
		})
	command(a, operation{Method: "POST", Path: "/api/time-entries", ID: "create-time-entry", Tag: "time", ReadsFirst: true, Status: http.StatusCreated,
		Summary: "Write down time that was worked", Access: needs(domain.CreateTimeEntry),
		Description: "An entry has at most 24 hours, and does not overlap another one of the same member (409)."},
		func(ctx context.Context, r commands.Request, in *creating[timeFields]) (*wrote[domain.TimeEntry], error) {
			return answered(a.Commands.CreateTimeEntry(ctx, r, commands.TimeFields(in.Body)))
		})
	register(a, operation{Method: "GET", Path: "/api/time-entries/{id}", ID: "get-time-entry", Tag: "time", Status: http.StatusOK,
		Summary: "Get a time entry, as it is or as it was", Access: needs(domain.ReadTimeEntry)}, getting(a, projections.TimeEntries))
	command(a, operation{Method: "PATCH", Path: "/api/time-entries/{id}", ID: "update-time-entry", Tag: "time", ReadsFirst: true, Status: http.StatusOK,
		Summary: "Change fields of a time entry", Access: needs(domain.UpdateTimeEntry),
		Description: "In another project the entry gets the rate that is in force there; else it keeps its own."},
		func(ctx context.Context, r commands.Request, in *changing[timePatch]) (*wrote[domain.TimeEntry], error) {
			b := in.Body
			return answered(a.Commands.UpdateTimeEntry(ctx, r, in.ID, domain.TimeEntryChange{TaskID: b.TaskID.Optional, ProjectID: b.ProjectID.Optional,
				Start: b.Start.Value, End: b.End.Value, Minutes: b.Minutes.Value, Activity: b.Activity.Value, Billable: b.Billable.Value}))
		})
	command(a, operation{Method: "DELETE", Path: "/api/time-entries/{id}", ID: "delete-time-entry", Tag: "time", ReadsFirst: true, Status: http.StatusNoContent,
		Summary: "Delete a time entry", Access: needs(domain.DeleteTimeEntry)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteTimeEntry(ctx, r, in.ID))
		})
	register(a, operation{Method: "GET", Path: "/api/time-entries/{id}/history", ID: "get-time-entry-history", Tag: "time", Status: http.StatusOK,
		Summary: "Who changed what in a time entry, when", Description: "Of a deleted entry as well.", Access: needs(domain.ReadTimeEntry)},
		history(a, projections.TimeEntries))

	timeTotalsOperation(a)
	register(a, operation{Method: "GET", Path: "/api/timer", ID: "get-timer", Tag: "time", Status: http.StatusOK,
		Summary: "The caller's timer that runs", Access: needs(domain.ReadTimeEntry)},
		func(ctx context.Context, by projections.Actor, _ *struct{}) (*shows[timer], error) {
			running, mark, err := a.Projections.GetTimer(ctx, by)
			return &shows[timer]{queryHeaders(mark, 0), timer{running}}, err
		})
	command(a, operation{Method: "POST", Path: "/api/timer/start", ID: "start-timer", Tag: "time", ReadsFirst: true, Status: http.StatusCreated, Made: "/api/time-entries/{id}",
		Summary: "Start a timer, now", Access: needs(domain.CreateTimeEntry),
		Description: "A member has one timer at most that runs (409), and it takes all time from now on: no entry may be later than it."},
		func(ctx context.Context, r commands.Request, in *timerStart) (*wrote[domain.TimeEntry], error) {
			b := valueOrZero(in.Body)
			return answered(a.Commands.StartTimer(ctx, r, commands.TimeFields{TaskID: b.TaskID, ProjectID: b.ProjectID, Activity: b.Activity, Billable: b.Billable}))
		})
	command(a, operation{Method: "POST", Path: "/api/timer/stop", ID: "stop-timer", Tag: "time", ReadsFirst: true, Status: http.StatusOK,
		Summary: "Stop the caller's timer", Access: needs(domain.UpdateTimeEntry),
		Description: "A timer that has been running for more than 24 hours is stopped with an end that is given."},
		func(ctx context.Context, r commands.Request, in *timerStop) (*wrote[domain.TimeEntry], error) {
			return answered(a.Commands.StopTimer(ctx, r, valueOrZero(in.Body).End))
		})
}

// valueOrZero gives the zero value for a body that was left out.
func valueOrZero[B any](body *B) (b B) {
	if body != nil {
		b = *body
	}
	return b
}
