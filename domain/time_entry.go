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

	// Time entries begin in these years. A start outside of them is a typing error, such as 3026 for 2026.
	firstYear = 1970
	planAhead = 1 // years
)

// TimeEntry is time that a member worked: on a task, on a project, or on neither. The entry belongs to the worker, also when another member
// has recorded it. Times are whole seconds. An entry lasts from Start up to, but not including, End. An entry without End is a running
// timer.
type TimeEntry struct {
	ID              uuid.UUID  `json:"id"`
	MemberID        uuid.UUID  `json:"member_id"`
	TaskID          *uuid.UUID `json:"task_id"`
	ProjectID       *uuid.UUID `json:"project_id"`
	Start           time.Time  `json:"start"`
	End             *time.Time `json:"end"`
	Minutes         *int       `json:"minutes"` // rounded half up
	Activity        string     `json:"activity"`
	Billable        bool       `json:"billable"`
	HourlyRateCents *int       `json:"hourly_rate_cents"` // EUR cents, in force when the time was recorded
	AmountCents     int        `json:"amount_cents"`      // Minutes at that rate, rounded half up; 0 when not billable
	CreatedBy       uuid.UUID  `json:"created_by"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	DeletedAt       *time.Time `json:"deleted_at"`
	Version         int        `json:"version"`
	Position        int64      `json:"position"`
}

// TimeEntryStream names the stream of a time entry.
func TimeEntryStream(id uuid.UUID) string { return "time_entry-" + id.String() }

// TimeStream names the stream of a member's time. Each command that takes time of the member appends an event there and decides after all
// earlier ones. So no two entries of a member overlap and no two timers of a member run. Commands on different members do not wait for
// each other.
func TimeStream(member uuid.UUID) string { return "time-" + member.String() }

// PlaceTime records the entry in the stream of the member's time.
func PlaceTime(entry uuid.UUID) []Event { return []Event{TimeEntryPlaced{EntryID: entry}} }

// Span is the time from Start to End; End is nil while a timer runs.
type Span struct {
	Start time.Time
	End   *time.Time
}

// TimeOf reads the span of an entry from its start and either its end or its minutes.
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

// until gives the span an end, from end or minutes. Without both, the span stays as it is.
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

// TimeFacts are the facts on which a decision about a member's time depends.
type TimeFacts struct {
	Workspace Workspace // with its rules for time entries
	Now       time.Time
	Other     *TimeEntry // an entry of the member that overlaps the requested span
}

// near refuses a start before firstYear or too far ahead. An end is at most MaxEntry after its start.
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

// NewTimeEntry records time that was worked.
func NewTimeEntry(w Work, s Span, a TimeFacts) ([]Event, error) {
	if err := firstError(w.check(), s.check(), a.near(s.Start), a.Workspace.TimeOpen(s.Start), a.free()); err != nil {
		return nil, err
	}
	return []Event{TimeEntryCreated{Work: w, Start: s.Start, End: *s.End}}, nil
}

// StartTimer starts a timer now. running is the member's running timer; nil for none.
func StartTimer(w Work, running *TimeEntry, a TimeFacts) ([]Event, error) {
	if running != nil {
		return nil, Refuse(Conflict, "timer_running", "a timer has been running since %s: stop it first", running.Start.Format(time.RFC3339))
	}
	if err := firstError(w.check(), a.Workspace.TimeOpen(a.Now), a.free()); err != nil {
		return nil, err
	}
	return []Event{TimeEntryStarted{Work: w, Start: a.Now}}, nil
}

// NoTimer refuses to stop a timer when none is running.
func NoTimer() *Error { return Refuse(Conflict, "timer_not_running", "you have no running timer") }

// Stop ends a timer at end, or now when end is nil.
func (t TimeEntry) Stop(end *string, a TimeFacts) ([]Event, error) {
	if t.End != nil {
		return nil, NoTimer()
	}
	span, err := t.Span().until(end, nil)
	if err != nil {
		return nil, err
	}
	if end == nil {
		to := latest(a.Now, t.Start) // the clock of this machine may be behind that of the start
		if to.Sub(t.Start) > MaxEntry {
			return nil, Refuse(Conflict, "timer_too_long", "the timer has been running since %s, and an entry has at most 24 hours: say when it ended, as end",
				t.Start.Format(time.RFC3339))
		}
		span.End = &to
	}
	return []Event{TimeEntryStopped{End: *span.End}}, a.Workspace.TimeOpen(t.Start)
}

// Leave ends the timer of a member who is active no longer: now, or when the entry has the most time that it may. A timer in time that is locked stays
// as it is.
func (t TimeEntry) Leave(a TimeFacts) []Event {
	if t.End != nil || a.Workspace.TimeOpen(t.Start) != nil {
		return nil
	}
	end := latest(a.Now, t.Start)
	if longest := t.Start.Add(MaxEntry); end.After(longest) {
		end = longest
	}
	return []Event{TimeEntryStopped{End: end}}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TimeEntryChange holds the new values of an entry's fields. A field that is nil or not set stays.
type TimeEntryChange struct {
	TaskID    Optional[uuid.UUID]
	ProjectID Optional[uuid.UUID]
	Start     *string
	End       *string
	Minutes   *int
	Activity  *string
	Billable  *bool
}

// Span gives the time of the entry.
func (t TimeEntry) Span() Span { return Span{t.Start, t.End} }

// SpanAfter gives the span of the entry after a change. more tells whether that span takes time outside of the present one.
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

// Change gives the events that a TimeEntryChange makes of the entry's present state. work and after are the entry's work and span after the
// change. a has the overlapping entry, if the span takes more time.
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
		return nil, InvalidField("/start", "must be absent for a running timer: stop the timer first")
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

// Work gives the worker and the object of the work.
func (t TimeEntry) Work() Work {
	return Work{MemberID: t.MemberID, TaskID: t.TaskID, ProjectID: t.ProjectID, Activity: t.Activity, Billable: t.Billable, HourlyRateCents: t.HourlyRateCents}
}

// After gives the work after a change. The caller looks up the project of another task and the rate in another project.
func (w Work) After(c TimeEntryChange) Work {
	setOptional(&w.TaskID, c.TaskID)
	setOptional(&w.ProjectID, c.ProjectID)
	set(&w.Activity, c.Activity)
	set(&w.Billable, c.Billable)
	return w
}

// Delete deletes the entry.
func (t TimeEntry) Delete(a TimeFacts) ([]Event, error) {
	return []Event{TimeEntryDeleted{}}, a.Workspace.TimeOpen(t.Start)
}

func (w Work) check() error {
	return firstError(checkText("/activity", w.Activity, 0, MaxActivity))
}

// became gives the Optional that turns before into after.
func became[T comparable](before, after *T) Optional[T] {
	return changedOptional(before, Optional[T]{Set: true, Value: after})
}

// Parts gives the worker's part in the time entry. The entry is not within its task, so a worker sees it without access to the task.
func (t TimeEntry) Parts(member uuid.UUID) Parts {
	return partsOf(has{Worker, t.MemberID == member})
}
