package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// When two commands record time of one member at once:
//
//  1. Each reads the entries of the member, with the version of the stream of that member's time.
//  2. Each finds the time free, and appends an event to that stream, at that version, along with its entry.
//  3. One append is stored. The other command catches up, reads again, and finds the time taken.
//
// A command that makes an entry shorter, stops a timer or deletes an entry occupies no time, and appends nothing there. The order is the same when entries
// may overlap, because a member has one timer at most, and the rule may change at any moment. A command that brings an entry into a project appends an
// event there as well, because the deletion of a project depends on the streams of all members' time.

// TimeFields are the fields of a new time entry. Zero values are left out.
type TimeFields struct {
	MemberID  *uuid.UUID // nil: the caller
	TaskID    *uuid.UUID
	ProjectID *uuid.UUID
	Start     string
	End       *string
	Minutes   *int
	Activity  string
	Billable  *bool // nil: true
}

func (f TimeFields) work(by projections.Actor) domain.Work {
	w := domain.Work{MemberID: by.Member, TaskID: f.TaskID, ProjectID: f.ProjectID, Activity: f.Activity, Billable: true}
	if f.MemberID != nil {
		w.MemberID = *f.MemberID
	}
	if f.Billable != nil {
		w.Billable = *f.Billable
	}
	return w
}

// CreateTimeEntry records time that a member worked.
func (c *Commands) CreateTimeEntry(ctx context.Context, r Request, wanted TimeFields) (Result[domain.TimeEntry], error) {
	span, err := domain.TimeOf(wanted.Start, wanted.End, wanted.Minutes)
	if err != nil {
		return Result[domain.TimeEntry]{}, err
	}
	return c.writeTime(ctx, r, wanted.work(r.By), &span, func(w domain.Work, facts domain.TimeFacts, _ *domain.TimeEntry) ([]domain.Event, error) {
		return domain.NewTimeEntry(w, span, facts)
	})
}

// StartTimer starts a timer of the caller.
func (c *Commands) StartTimer(ctx context.Context, r Request, wanted TimeFields) (Result[domain.TimeEntry], error) {
	return c.writeTime(ctx, r, wanted.work(r.By), nil, func(w domain.Work, facts domain.TimeFacts, running *domain.TimeEntry) ([]domain.Event, error) {
		return domain.StartTimer(w, running, facts)
	})
}

// writeTime creates an entry of work in a span; nil for a timer that starts now.
func (c *Commands) writeTime(ctx context.Context, r Request, work domain.Work, span *domain.Span,
	decide func(domain.Work, domain.TimeFacts, *domain.TimeEntry) ([]domain.Event, error),
) (Result[domain.TimeEntry], error) {
	id := uuid.Must(uuid.NewV7())
	var basis projections.TimeBasis
	var running []domain.TimeEntry
	return create(ctx, c, r, projections.TimeEntries, domain.CreateTimeEntry, id, func(a *attempt) (made decision, err error) {
		if !basis.Member {
			return made, domain.InvalidField("/member_id", "there is no such member")
		}
		w, wanted := work, domain.Span{Start: basis.Now}
		if made.guarding, err = loadWork(ctx, a, domain.CreateTimeEntry, &w, nil, w.ProjectID != nil, basis); err != nil {
			return made, err
		}
		if span != nil {
			wanted = *span
		}
		facts, err := placeTime(ctx, a, &made, w.MemberID, id, basis, wanted)
		if err != nil {
			return made, err
		}
		made.events, err = decide(w, facts, firstOrNil(running))
		return made, err
	}, append(projections.LoadTimeBasis(&basis, r.By, work.MemberID), projections.RunningTimer(&running, work.MemberID))...)
}

// UpdateTimeEntry changes fields of a time entry. A running timer that gets an end is stopped.
func (c *Commands) UpdateTimeEntry(ctx context.Context, r Request, id uuid.UUID, wanted domain.TimeEntryChange) (Result[domain.TimeEntry], error) {
	return changeOne(ctx, c, r, projections.TimeEntries, domain.UpdateTimeEntry, id, func(a *attempt, entry domain.TimeEntry) (made decision, err error) {
		after, more, err := entry.SpanAfter(wanted)
		if err != nil {
			return made, err
		}
		var basis projections.TimeBasis
		if err := a.read(ctx, projections.LoadTimeBasis(&basis, a.by, entry.MemberID)...); err != nil {
			return made, err
		}
		before := entry.Work()
		work := before.After(wanted)
		if made.guarding, err = loadWork(ctx, a, domain.UpdateTimeEntry, &work, &before, wanted.ProjectID.Set, basis); err != nil {
			return made, err
		}
		facts := domain.TimeFacts{Workspace: basis.Workspace, Now: basis.Now}
		switch {
		case more:
			facts, err = placeTime(ctx, a, &made, entry.MemberID, id, basis, after)
		case work.ProjectID != nil && !equalPtr(work.ProjectID, before.ProjectID):
			made.with = []write{{domain.TimeStream(entry.MemberID), basis.Placed, domain.PlaceTime(id)}}
		}
		if err != nil {
			return made, err
		}
		made.events, err = entry.Change(work, after, facts)
		made.guarding = append(made.guarding, rulesGuard(basis))
		return made, err
	})
}

// StopTimer stops the timer of the caller, at end; nil for now.
func (c *Commands) StopTimer(ctx context.Context, r Request, end *string) (Result[domain.TimeEntry], error) {
	var before domain.TimeEntry
	done, err := c.change(ctx, r, func(a *attempt) (decided plan, err error) {
		var basis projections.TimeBasis
		var running []domain.TimeEntry
		if err := a.read(ctx, append(projections.LoadTimeBasis(&basis, a.by, a.by.Member), projections.RunningTimer(&running, a.by.Member))...); err != nil {
			return decided, err
		}
		if err := allowOn(a.by, domain.UpdateTimeEntry, domain.Reach{Own: true}); err != nil {
			return decided, err
		}
		if len(running) == 0 {
			return decided, domain.NoTimer()
		}
		before, decided, err = decideOn(ctx, a, r, projections.TimeEntries, domain.UpdateTimeEntry, running[0].ID, false,
			decideWithRules(&basis, func(entry domain.TimeEntry, facts domain.TimeFacts) ([]domain.Event, error) {
				return entry.Stop(end, facts)
			}))
		return decided, err
	})
	return nounResult(ctx, c, r, projections.TimeEntries, before, done, err)
}

// stopTimerOf has a plan by which a member is active no longer stop the member's timer as well. The plan depends on the stream of the member's time, in
// which each start of a timer has an event.
func stopTimerOf(ctx context.Context, a *attempt, p plan, member uuid.UUID) (plan, error) {
	if !slices.ContainsFunc(p.events, domain.Leaves) {
		return p, nil
	}
	var basis projections.TimeBasis
	var running []domain.TimeEntry
	if err := a.read(ctx, append(projections.LoadTimeBasis(&basis, a.by, member), projections.RunningTimer(&running, member))...); err != nil {
		return p, err
	}
	p.guarding = append(p.guarding, eventstore.Guard{Stream: domain.TimeStream(member), Version: basis.Placed}, rulesGuard(basis))
	for _, timer := range running {
		if events := timer.Leave(domain.TimeFacts{Workspace: basis.Workspace, Now: basis.Now}); events != nil {
			p.with = append(p.with, write{domain.TimeEntryStream(timer.ID), timer.Version, events})
		}
	}
	return p, nil
}

// DeleteTimeEntry deletes a time entry.
func (c *Commands) DeleteTimeEntry(ctx context.Context, r Request, id uuid.UUID) (Result[domain.TimeEntry], error) {
	var basis projections.TimeBasis
	return changeOne(ctx, c, r, projections.TimeEntries, domain.DeleteTimeEntry, id, decideWithRules(&basis, domain.TimeEntry.Delete),
		projections.LoadTimeBasis(&basis, r.By, uuid.Nil)...)
}

// decideWithRules makes a decision that rests only on the entry and on the time rules of the workspace.
func decideWithRules(basis *projections.TimeBasis, decide func(domain.TimeEntry, domain.TimeFacts) ([]domain.Event, error)) func(*attempt, domain.TimeEntry) (decision, error) {
	return func(_ *attempt, entry domain.TimeEntry) (decision, error) {
		events, err := decide(entry, domain.TimeFacts{Workspace: basis.Workspace, Now: basis.Now})
		return decision{events: events, guarding: []eventstore.Guard{rulesGuard(*basis)}}, err
	}
}

// rulesGuard guards the time rules of the workspace.
func rulesGuard(basis projections.TimeBasis) eventstore.Guard {
	return eventstore.Guard{Stream: domain.WorkspaceStream(basis.Workspace.ID), Version: basis.Workspace.Version}
}

// placeTime reads an entry that overlaps a span of a member's time, if there is one. It makes the append depend on all earlier entries of the member, and
// later entries depend on this one, by an event in the stream of the member's time. The append also depends on the time rules of the workspace.
func placeTime(ctx context.Context, a *attempt, made *decision, member, entry uuid.UUID, basis projections.TimeBasis, s domain.Span) (domain.TimeFacts, error) {
	var others []domain.TimeEntry
	err := a.read(ctx, projections.OverlappingTime(&others, member, entry, s))
	made.with = []write{{domain.TimeStream(member), basis.Placed, domain.PlaceTime(entry)}}
	made.guarding = append(made.guarding, rulesGuard(basis))
	facts := domain.TimeFacts{Workspace: basis.Workspace, Now: basis.Now, Other: firstOrNil(others)}
	if a.original != nil { // imported time may overlap, whatever the rule is now
		facts.Other = nil
	}
	return facts, err
}

// loadWork looks up the task and the project of work, and checks that the actor has the permission there. before is the work before a change; nil for a
// new entry. It fills in the project of the task, and the hourly rate unless the project stays. It gives guards on task and project. A member's own work
// counts as the member's own in every task or project that the member may see.
func loadWork(ctx context.Context, a *attempt, p domain.Permission, w *domain.Work, before *domain.Work, projectGiven bool, basis projections.TimeBasis,
) (guards []eventstore.Guard, err error) {
	if before != nil && equalPtr(w.TaskID, before.TaskID) && equalPtr(w.ProjectID, before.ProjectID) {
		return nil, nil
	}
	if w.TaskID != nil {
		task, err := load(ctx, a, projections.Tasks, *w.TaskID)
		if err != nil || task.Gone {
			return nil, missingIsInvalid(err, "/task_id", "there is no such task")
		}
		if projectGiven && !equalPtr(w.ProjectID, task.State.ProjectID) {
			return nil, domain.InvalidField("/project_id", "must be the project that the task is in")
		}
		w.ProjectID = task.State.ProjectID
		guards = append(projections.Tasks.Guards(task, a.by, p), eventstore.Guard{Stream: domain.TaskStream(*w.TaskID), Version: task.At})
	}
	if before != nil && equalPtr(w.ProjectID, before.ProjectID) {
		return guards, nil
	}
	project, err := loadProject(ctx, a, w)
	if err != nil {
		return nil, err
	}
	if w.ProjectID != nil {
		guards = append(guards, eventstore.Guard{Stream: domain.ProjectStream(*w.ProjectID), Version: project.At})
	}
	w.HourlyRateCents = domain.Rate(basis.RateCents, project.State.HourlyRateCents, basis.Workspace.HourlyRateCents)
	if err := allowOn(a.by, p, domain.Reach{Own: w.MemberID == a.by.Member, InProject: project.Reach.InProject}); err != nil {
		return nil, err
	}
	return guards, project.State.NewTime()
}

// loadProject looks up the project of work, if it has one. The caller must see the project, unless the work is on a task, which the caller sees.
func loadProject(ctx context.Context, a *attempt, w *domain.Work) (none projections.Row[domain.Project], err error) {
	if w.ProjectID == nil {
		return none, nil
	}
	var found []projections.Row[domain.Project]
	if err := a.read(ctx, projections.Projects.Load(&found, a.by, *w.ProjectID)); err != nil {
		return none, err
	}
	if len(found) == 0 || found[0].Gone || !found[0].Visible && w.TaskID == nil {
		return none, domain.InvalidField("/project_id", "there is no such project")
	}
	return found[0], nil
}

// missingIsInvalid turns "not found", and no error, into an InvalidField, because the id stood in the body. Any other error stays.
func missingIsInvalid(err error, pointer, detail string) error {
	if refusal, ok := domain.Refusal(err); err == nil || ok && refusal.Kind == domain.NotFound {
		return domain.InvalidField(pointer, "%s", detail)
	}
	return err
}

func firstOrNil[T any](of []T) *T {
	if len(of) == 0 {
		return nil
	}
	return &of[0]
}

func equalPtr[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }
