package domain

import (
	"time"

	"github.com/google/uuid"
)

// Work says who worked, on what, and at which hourly rate. The project of the task and the rate are those at the time of recording: both
// are fields of the event.
type Work struct {
	MemberID        uuid.UUID  `json:"member_id"`
	TaskID          *uuid.UUID `json:"task_id,omitempty"`
	ProjectID       *uuid.UUID `json:"project_id,omitempty"`
	Activity        string     `json:"activity,omitempty"`
	Billable        bool       `json:"billable"`
	HourlyRateCents *int       `json:"hourly_rate_cents,omitempty"`
}

// The events of a time entry, and TimeEntryPlaced in the stream of the member's time.
type (
	TimeEntryCreated struct {
		Work
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	}
	// TimeEntryStarted starts a timer.
	TimeEntryStarted struct {
		Work
		Start time.Time `json:"start"`
	}
	TimeEntryStopped struct {
		End time.Time `json:"end"`
	}
	TimeEntryPlaced struct {
		EntryID uuid.UUID `json:"entry_id"`
	}
	// TimeEntryUpdated holds only the fields that changed.
	TimeEntryUpdated struct {
		TaskID          Optional[uuid.UUID] `json:"task_id,omitzero"`
		ProjectID       Optional[uuid.UUID] `json:"project_id,omitzero"`
		Start           *time.Time          `json:"start,omitempty"`
		End             *time.Time          `json:"end,omitempty"`
		Activity        *string             `json:"activity,omitempty"`
		Billable        *bool               `json:"billable,omitempty"`
		HourlyRateCents Optional[int]       `json:"hourly_rate_cents,omitzero"`
	}
	TimeEntryDeleted struct{}
)

func init() {
	register[TimeEntryCreated]("time_entry.created")
	register[TimeEntryStarted]("time_entry.started")
	register[TimeEntryStopped]("time_entry.stopped")
	register[TimeEntryPlaced]("time_entry.placed")
	register[TimeEntryUpdated]("time_entry.updated")
	register[TimeEntryDeleted]("time_entry.deleted")
}

// Apply folds one event of the entry's stream into its state.
func (t *TimeEntry) Apply(r Record) {
	switch e := r.Event.(type) {
	case TimeEntryCreated:
		t.begin(r, e.Work, e.Start)
		t.End = &e.End
	case TimeEntryStarted:
		t.begin(r, e.Work, e.Start)
	case TimeEntryStopped:
		t.End = &e.End
	case TimeEntryUpdated:
		t.update(e)
	case TimeEntryDeleted:
		t.DeletedAt = &r.At
	}
	t.sum()
	t.UpdatedAt, t.Version, t.Position = r.At, r.Version, r.Position
}

func (t *TimeEntry) begin(r Record, w Work, start time.Time) {
	id, _ := StreamID("time_entry", r.Stream)
	*t = TimeEntry{ID: id, MemberID: w.MemberID, TaskID: w.TaskID, ProjectID: w.ProjectID, Start: start, Activity: w.Activity, Billable: w.Billable,
		HourlyRateCents: w.HourlyRateCents, CreatedBy: r.Who(), CreatedAt: r.When()}
}

func (t *TimeEntry) update(e TimeEntryUpdated) {
	setOptional(&t.TaskID, e.TaskID)
	setOptional(&t.ProjectID, e.ProjectID)
	set(&t.Start, e.Start)
	if e.End != nil {
		t.End = e.End
	}
	set(&t.Activity, e.Activity)
	set(&t.Billable, e.Billable)
	setOptional(&t.HourlyRateCents, e.HourlyRateCents)
}

// sum computes minutes and cents from the fields, each rounded once, half up.
func (t *TimeEntry) sum() {
	t.Minutes, t.AmountCents = nil, 0
	if t.End == nil {
		return
	}
	minutes := (int(t.End.Sub(t.Start)/time.Second) + 30) / 60
	t.Minutes = &minutes
	if t.Billable && t.HourlyRateCents != nil {
		t.AmountCents = (minutes**t.HourlyRateCents + 30) / 60
	}
}
