package domain

import (
	"time"

	"github.com/google/uuid"
)

// Limits of a time entry.
const (
	MaxEntry    = 24 * time.Hour
	MaxActivity = 500           // code points
	MaxRate     = 1_000_000_000 // cents an hour: EUR 10 million

	// Time is worked in these years, and may be planned for one year ahead. Anything else is a slip, such as 3026 for 2026.
	firstYear = 1970
	planAhead = 1 // years
)

// TimeEntry is time that a member worked: of a task, of a project, or of neither. It is the member's own, whoever wrote it down.
// Times are whole seconds; an entry runs from Start up to, not including, End. One without an End is a timer that runs.
type TimeEntry struct {
	ID              uuid.UUID  `json:"id"`
	MemberID        uuid.UUID  `json:"member_id"`
	TaskID          *uuid.UUID `json:"task_id"`
	ProjectID       *uuid.UUID `json:"project_id"`
	Start           time.Time  `json:"start"`
	End             *time.Time `json:"end"`
	Minutes         *int       `json:"minutes"` // half a minute counts as one
	Activity        string     `json:"activity"`
	Billable        bool       `json:"billable"`
	HourlyRateCents *int       `json:"hourly_rate_cents"` // of EUR, in force when the time was written down
	AmountCents     int        `json:"amount_cents"`      // Minutes at that rate, half a cent counts as one; 0 when not billable
	CreatedBy       uuid.UUID  `json:"created_by"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	DeletedAt       *time.Time `json:"deleted_at"`
	Version         int        `json:"version"`
	Position        int64      `json:"position"`
}

// TimeEntryStream names the stream of a time entry.
func TimeEntryStream(id uuid.UUID) string { return "time_entry-" + id.String() }

// TimeStream names the stream of a member's time. Whatever takes time adds an event there that was decided on all before it: so no two
// entries of a member overlap and no two timers run, while entries of different members never meet.
func TimeStream(member uuid.UUID) string { return "time-" + member.String() }

// PlaceTime is what makes further decisions on the member's time see the entry.
func PlaceTime(entry uuid.UUID) []Event { return []Event{TimeEntryPlaced{EntryID: entry}} }

// Span is from when to when somebody worked; End is nil while a timer runs.
type Span struct {
	Start time.Time
	End   *time.Time
}

// TimeOf reads when an entry was: to an end, or for some minutes.
func TimeOf(start string, end *string, minutes *int) (Span, error) {
	if (end == nil) == (minutes == nil) {
		return Span{}, InvalidField("/end", "give either end or minutes")
	}
	from, err := ParseInstant("/start", start)
	if err != nil {
		return Span{}, err
	}
	return Span{Start: from}.until(end, minutes)
}

// until gives the span an end, where one is given.
func (s Span) until(end *string, minutes *int) (Span, error) {
	switch {
	case end != nil && minutes != nil:
		return s, InvalidField("/end", "give either end or minutes")
	case minutes != nil:
		if *minutes < 1 || *minutes > int(MaxEntry.Minutes()) {
			return s, InvalidField("/minutes", "must be between 1 and %d", int(MaxEntry.Minutes()))
		}
		to := s.Start.Add(time.Duration(*minutes) * time.Minute)
		s.End = &to
	case end != nil:
		to, err := ParseInstant("/end", *end)
		if err != nil {
			return s, err
		}
		s.End = &to
	}
	return s, s.check()
}

func (s Span) check() error {
	switch {
	case s.End == nil:
		return nil
	case !s.End.After(s.Start):
		return InvalidField("/end", "must be after the start, %s", s.Start.Format(time.RFC3339))
	case s.End.Sub(s.Start) > MaxEntry:
		return InvalidField("/end", "an entry has at most 24 hours, this one has %s", s.End.Sub(s.Start))
	case !storable(*s.End):
		return InvalidField("/end", "must be before the year 10000")
	}
	return nil
}

// TimeFacts is what a decision on a member's time has looked up.
type TimeFacts struct {
	Workspace Workspace // with the rules of its time
	Now       time.Time
	Other     *TimeEntry // of the member, which overlaps the span that is wanted
}

// near refuses a start so far away that nobody meant it. An end is at most MaxEntry behind it.
func (a TimeFacts) near(start time.Time) error {
	if start.Year() < firstYear || start.After(a.Now.AddDate(planAhead, 0, 0)) {
		return InvalidField("/start", "must be in %d or later, and at most a year from now", firstYear)
	}
	return nil
}

// free refuses a span that another entry of the member overlaps.
func (a TimeFacts) free() error {
	switch {
	case a.Other == nil || a.Workspace.TimeOverlap:
		return nil
	case a.Other.End == nil:
		return Refuse(Conflict, "time_overlap", "a timer has been running since %s: stop it first, or end before that", a.Other.Start.Format(time.RFC3339))
	}
	return Refuse(Conflict, "time_overlap", "the member has an entry from %s to %s, which overlaps this one: %s",
		a.Other.Start.Format(time.RFC3339), a.Other.End.Format(time.RFC3339), a.Other.ID)
}

// Rate is the hourly rate in force: the member's own, else that of the project, else that of the workspace; nil when none of them has one.
func Rate(member, project, workspace *int) *int {
	for _, rate := range []*int{member, project} {
		if rate != nil {
			return rate
		}
	}
	return workspace
}

// NewTimeEntry writes down time that was worked.
func NewTimeEntry(w Work, s Span, a TimeFacts) ([]Event, error) {
	if err := firstError(w.check(), s.check(), a.near(s.Start), a.Workspace.TimeOpen(s.Start), a.free()); err != nil {
		return nil, err
	}
	return []Event{TimeEntryCreated{Work: w, Start: s.Start, End: *s.End}}, nil
}

// StartTimer starts a timer now. running is the member's timer that runs already, if there is one.
func StartTimer(w Work, running *TimeEntry, a TimeFacts) ([]Event, error) {
	if running != nil {
		return nil, Refuse(Conflict, "timer_running", "a timer has been running since %s: stop it first", running.Start.Format(time.RFC3339))
	}
	if err := firstError(w.check(), a.Workspace.TimeOpen(a.Now), a.free()); err != nil {
		return nil, err
	}
	return []Event{TimeEntryStarted{Work: w, Start: a.Now}}, nil
}

// NoTimer refuses to stop what does not run.
func NoTimer() *Error { return Refuse(Conflict, "timer_not_running", "no timer of yours is running") }

// Stop ends a timer, now or at an instant that is given.
func (t TimeEntry) Stop(end *string, a TimeFacts) ([]Event, error) {
	if t.End != nil {
		return nil, NoTimer()
	}
	span, err := t.Span().until(end, nil)
	if err != nil {
		return nil, err
	}
	if end == nil {
		to := latest(a.Now, t.Start) // of two clocks, one may be behind
		if to.Sub(t.Start) > MaxEntry {
			return nil, Refuse(Conflict, "timer_too_long", "the timer has been running since %s, and an entry has at most 24 hours: say when it ended, as end",
				t.Start.Format(time.RFC3339))
		}
		span.End = &to
	}
	return []Event{TimeEntryStopped{End: *span.End}}, a.Workspace.TimeOpen(t.Start)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TimeEntryChange is what somebody wants changed; what is nil or not set stays.
type TimeEntryChange struct {
	TaskID    Optional[uuid.UUID]
	ProjectID Optional[uuid.UUID]
	Start     *string
	End       *string
	Minutes   *int
	Activity  *string
	Billable  *bool
}

// Span is when the entry was.
func (t TimeEntry) Span() Span { return Span{t.Start, t.End} }

// SpanAfter is when the entry will have been; more tells whether that takes time which is not the entry's already.
func (t TimeEntry) SpanAfter(c TimeEntryChange) (after Span, more bool, err error) {
	after = t.Span()
	if c.Start == nil && c.End == nil && c.Minutes == nil {
		return after, false, nil
	}
	if c.Start != nil {
		if after.Start, err = ParseInstant("/start", *c.Start); err != nil {
			return after, false, err
		}
	}
	if after, err = after.until(c.End, c.Minutes); err != nil {
		return after, false, err
	}
	return after, after.Start.Before(t.Start) || t.End != nil && after.End.After(*t.End), nil
}

// Change decides what a TimeEntryChange means for the entry as it is. work is what the entry will be of, and after when it will have
// been; a has the neighbours of that span, where that takes more time.
func (t TimeEntry) Change(work Work, after Span, a TimeFacts) ([]Event, error) {
	update := TimeEntryUpdated{
		TaskID:          became(t.TaskID, work.TaskID),
		ProjectID:       became(t.ProjectID, work.ProjectID),
		HourlyRateCents: became(t.HourlyRateCents, work.HourlyRateCents),
		Activity:        changed(t.Activity, &work.Activity),
		Billable:        changed(t.Billable, &work.Billable),
	}
	if !after.Start.Equal(t.Start) {
		if err := a.near(after.Start); err != nil {
			return nil, err
		}
		update.Start = &after.Start
	}
	var stopped []Event
	switch {
	case after.End == nil || t.End != nil && after.End.Equal(*t.End):
	case t.End == nil:
		stopped = []Event{TimeEntryStopped{End: *after.End}}
	default:
		update.End = after.End
	}
	if after.End == nil && after.Start.After(a.Now) {
		return nil, InvalidField("/start", "a timer that runs has started already")
	}
	var events []Event
	if update != (TimeEntryUpdated{}) {
		events = append(events, update)
	}
	if events = append(events, stopped...); events == nil {
		return nil, nil
	}
	return events, firstError(work.check(), a.Workspace.TimeOpen(t.Start), a.Workspace.TimeOpen(after.Start), a.free())
}

// Work is who worked, and on what.
func (t TimeEntry) Work() Work {
	return Work{MemberID: t.MemberID, TaskID: t.TaskID, ProjectID: t.ProjectID, Activity: t.Activity, Billable: t.Billable, HourlyRateCents: t.HourlyRateCents}
}

// After is the work as a change wants it. The project of another task, and the rate in another project, are for the caller to look up.
func (w Work) After(c TimeEntryChange) Work {
	setOptional(&w.TaskID, c.TaskID)
	setOptional(&w.ProjectID, c.ProjectID)
	set(&w.Activity, c.Activity)
	set(&w.Billable, c.Billable)
	return w
}

// Delete takes the entry away.
func (t TimeEntry) Delete(a TimeFacts) ([]Event, error) {
	return []Event{TimeEntryDeleted{}}, a.Workspace.TimeOpen(t.Start)
}

func (w Work) check() error {
	return firstError(checkText("/activity", w.Activity, 0, MaxActivity))
}

// became is the Optional that makes before into after.
func became[T comparable](before, after *T) Optional[T] {
	return changedOptional(before, Optional[T]{Set: true, Value: after})
}
