package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// The statuses and priorities of a task, in their order.
var (
	TaskStatuses   = []string{"open", "in_progress", "done", "cancelled"}
	TaskPriorities = []string{"none", "low", "medium", "high", "urgent"}
)

// Limits of a task's texts, in code points, and of its lists.
const (
	MaxTitle     = 500
	MaxPeople    = 100 // assignees, or viewers
	MaxEstimate  = 1_000_000
	MaxSubtasks  = 1000 // that go with a task: into another project, into the trash
	MaxRelations = 100
)

// Task is a piece of work.
type Task struct {
	ID              uuid.UUID      `json:"id"`
	Title           string         `json:"title"`
	Description     string         `json:"description"`
	Status          string         `json:"status"`
	Priority        string         `json:"priority"`
	StartOn         *Date          `json:"start_on"`
	DueOn           *Date          `json:"due_on"`
	ProjectID       *uuid.UUID     `json:"project_id"`
	Key             *string        `json:"key"` // in its project; it answers to those of earlier projects as well
	ParentID        *uuid.UUID     `json:"parent_id"`
	AssigneeIDs     []uuid.UUID    `json:"assignee_ids"`
	ViewerIDs       []uuid.UUID    `json:"viewer_ids"`
	TagIDs          []uuid.UUID    `json:"tag_ids"`   // as they were given: what they are by now, the tags say
	Relations       []TaskRelation `json:"relations"` // as both ends have them
	Rank            string         `json:"rank"`      // the place in the order by hand: smaller bytes come first
	EstimateMinutes *int           `json:"estimate_minutes"`
	ExternalSource  *string        `json:"external_source"`
	ExternalID      *string        `json:"external_id"`
	CreatedBy       uuid.UUID      `json:"created_by"`
	CreatedAt       time.Time      `json:"created_at"`
	UpdatedAt       time.Time      `json:"updated_at"`
	CompletedAt     *time.Time     `json:"completed_at"`
	DeletedAt       *time.Time     `json:"deleted_at"`
	DeletedWithID   *uuid.UUID     `json:"deleted_with_id"` // the task above with which it was deleted, and with which it is restored
	Version         int            `json:"version"`
	Position        int64          `json:"position"`
}

// TaskStream names the stream of a task.
func TaskStream(id uuid.UUID) string { return "task-" + id.String() }

// TaskChange is what a member wants changed; what is nil or not set stays.
type TaskChange struct {
	Title           *string
	Description     *string
	Status          *string
	Priority        *string
	StartOn         Optional[Date]
	DueOn           Optional[Date]
	ProjectID       Optional[uuid.UUID]
	ParentID        Optional[uuid.UUID]
	EstimateMinutes Optional[int]
	ExternalSource  Optional[string]
	ExternalID      Optional[string]
	AssigneeIDs     *[]uuid.UUID
	TagIDs          *[]uuid.UUID
	Before, After   *uuid.UUID // puts it directly before, or behind, that task in the order by hand
}

// NewTask begins a task. Status and priority may be empty: open, none. Whether the project, the parent, the assignees and the
// tags exist is for the caller to have looked up.
func NewTask(e TaskCreated) ([]Event, error) {
	if e.Status == "" {
		e.Status = "open"
	}
	if e.Priority == "" {
		e.Priority = "none"
	}
	if err := firstError(
		checkText("/title", e.Title, 1, MaxTitle),
		checkText("/description", e.Description, 0, MaxBody),
		oneOf("/status", e.Status, TaskStatuses...),
		oneOf("/priority", e.Priority, TaskPriorities...),
		checkDays(e.StartOn, e.DueOn),
		checkEstimate(e.EstimateMinutes),
		checkExternal(e.ExternalSource, e.ExternalID),
		checkPeople("/assignee_ids", e.AssigneeIDs),
		checkTags(e.TagIDs),
	); err != nil {
		return nil, err
	}
	return []Event{e}, nil
}

// Change decides what a TaskChange means for the task as it is. A change to what already is gives no events. now is of
// the tags that the task has or is to have.
func (t Task) Change(c TaskChange, now TagsNow) ([]Event, error) {
	update := TaskUpdated{
		Title:           changed(t.Title, c.Title),
		Description:     changed(t.Description, c.Description),
		Priority:        changed(t.Priority, c.Priority),
		StartOn:         changedOptional(t.StartOn, c.StartOn),
		DueOn:           changedOptional(t.DueOn, c.DueOn),
		ProjectID:       changedOptional(t.ProjectID, c.ProjectID),
		ParentID:        changedOptional(t.ParentID, c.ParentID),
		EstimateMinutes: changedOptional(t.EstimateMinutes, c.EstimateMinutes),
		ExternalSource:  changedOptional(t.ExternalSource, c.ExternalSource),
		ExternalID:      changedOptional(t.ExternalID, c.ExternalID),
	}
	var status []Event
	if to := changed(t.Status, c.Status); to != nil {
		switch {
		case *to == "done":
			status = []Event{TaskCompleted{}}
		case t.Status == "done":
			status = []Event{TaskReopened{Status: *to}}
		default:
			update.Status = to
		}
	}
	if err := t.check(c, update); err != nil {
		return nil, err
	}
	var events []Event
	if update != (TaskUpdated{}) {
		events = append(events, update)
	}
	events = append(events, status...)
	if c.AssigneeIDs != nil {
		events = append(events, t.assign(*c.AssigneeIDs)...)
	}
	if c.TagIDs != nil {
		events = append(events, t.retag(*c.TagIDs, now)...)
	}
	return events, nil
}

// Moves tells whether a change brings the task into another project, or out of projects.
func (t Task) Moves(c TaskChange) bool { return changedOptional(t.ProjectID, c.ProjectID).Set }

// Move takes the task along into the project that the one above it goes to; nil for none.
func (t Task) Move(project *uuid.UUID) []Event {
	return []Event{TaskUpdated{ProjectID: Optional[uuid.UUID]{Set: true, Value: project}}}
}

func (t Task) check(c TaskChange, update TaskUpdated) error {
	after := t
	after.update(update)
	if after.ParentID != nil && *after.ParentID == t.ID {
		return InvalidField("/parent_id", "a task cannot be its own parent")
	}
	status := t.Status
	set(&status, c.Status)
	return firstError(
		checkText("/title", after.Title, 1, MaxTitle),
		checkText("/description", after.Description, 0, MaxBody),
		oneOf("/status", status, TaskStatuses...),
		oneOf("/priority", after.Priority, TaskPriorities...),
		checkDays(after.StartOn, after.DueOn),
		checkEstimate(after.EstimateMinutes),
		checkExternal(after.ExternalSource, after.ExternalID),
		checkPeople("/assignee_ids", deref(c.AssigneeIDs)),
		checkTags(deref(c.TagIDs)),
	)
}

// assign gives the events that make ids the assignees.
func (t Task) assign(ids []uuid.UUID) (events []Event) {
	for _, id := range t.AssigneeIDs {
		if !slices.Contains(ids, id) {
			events = append(events, TaskUnassigned{MemberID: id})
		}
	}
	for i, id := range ids {
		if !slices.Contains(t.AssigneeIDs, id) && !slices.Contains(ids[:i], id) {
			events = append(events, TaskAssigned{MemberID: id})
		}
	}
	return events
}

// Complete makes the task done; a task that is done already stays so.
func (t Task) Complete() ([]Event, error) {
	if t.Status == "done" {
		return nil, nil
	}
	return []Event{TaskCompleted{}}, nil
}

// Reopen makes a task that is done or cancelled open again; an open one stays so.
func (t Task) Reopen() ([]Event, error) {
	switch t.Status {
	case "done":
		return []Event{TaskReopened{Status: "open"}}, nil
	case "cancelled":
		open := "open"
		return []Event{TaskUpdated{Status: &open}}, nil
	}
	return nil, nil
}

// Delete hides the task; it can be restored.
func (t Task) Delete() ([]Event, error) {
	if t.DeletedAt != nil {
		return nil, Missing("task")
	}
	return []Event{TaskDeleted{}}, nil
}

// DeleteWith hides the task together with one above it; one that is deleted already stays so, for a restore of its own.
func (t Task) DeleteWith(above uuid.UUID) []Event {
	if t.DeletedAt != nil {
		return nil
	}
	return []Event{TaskDeleted{WithID: &above}}
}

// Restore shows a deleted task again; one that is not deleted stays as it is. parentGone tells whether there is a task above it that
// is deleted.
func (t Task) Restore(parentGone bool) ([]Event, error) {
	if t.DeletedAt == nil {
		return nil, nil
	}
	if parentGone {
		return nil, Refuse(Conflict, "parent_deleted", "the task above it is deleted: restore that one first")
	}
	return []Event{TaskRestored{}}, nil
}

// RestoreWith shows the task again when it was deleted together with the one above it that is restored.
func (t Task) RestoreWith(above uuid.UUID) []Event {
	if t.DeletedWithID == nil || *t.DeletedWithID != above {
		return nil
	}
	return []Event{TaskRestored{}}
}

// Assign and Unassign, AddViewer and RemoveViewer change one person; what is so already stays.
func (t Task) Assign(member uuid.UUID) ([]Event, error) {
	return t.addPerson(t.AssigneeIDs, member, TaskAssigned{MemberID: member})
}

func (t Task) Unassign(member uuid.UUID) ([]Event, error) {
	return dropPerson(t.AssigneeIDs, member, TaskUnassigned{MemberID: member})
}

func (t Task) AddViewer(member uuid.UUID) ([]Event, error) {
	return t.addPerson(t.ViewerIDs, member, TaskViewerAdded{MemberID: member})
}

func (t Task) RemoveViewer(member uuid.UUID) ([]Event, error) {
	return dropPerson(t.ViewerIDs, member, TaskViewerRemoved{MemberID: member})
}

func (t Task) addPerson(people []uuid.UUID, member uuid.UUID, event Event) ([]Event, error) {
	if slices.Contains(people, member) {
		return nil, nil
	}
	if len(people) >= MaxPeople {
		return nil, Refuse(Conflict, "too_many_people", "a task has at most %d assignees and as many viewers", MaxPeople)
	}
	return []Event{event}, nil
}

func dropPerson(people []uuid.UUID, member uuid.UUID, event Event) ([]Event, error) {
	if !slices.Contains(people, member) {
		return nil, nil
	}
	return []Event{event}, nil
}

func checkDays(start, due *Date) error {
	if err := firstError(checkDate("/start_on", start), checkDate("/due_on", due)); err != nil {
		return err
	}
	if start != nil && due != nil && *due < *start {
		return InvalidField("/due_on", "must not be before start_on")
	}
	return nil
}

func checkEstimate(minutes *int) error {
	if minutes != nil && (*minutes < 0 || *minutes > MaxEstimate) {
		return InvalidField("/estimate_minutes", "must be between 0 and %d", MaxEstimate)
	}
	return nil
}

func checkPeople(pointer string, ids []uuid.UUID) error {
	if len(ids) > MaxPeople {
		return InvalidField(pointer, "must have at most %d members", MaxPeople)
	}
	return nil
}

func checkTags(ids []uuid.UUID) error {
	if len(ids) > MaxTags {
		return InvalidField("/tag_ids", "must have at most %d tags", MaxTags)
	}
	return nil
}

func deref[T any](s *[]T) []T {
	if s == nil {
		return nil
	}
	return *s
}

// changed is to when it differs from what is, else nil.
func changed[T comparable](is T, to *T) *T {
	if to == nil || *to == is {
		return nil
	}
	return to
}

func changedOptional[T comparable](is *T, to Optional[T]) Optional[T] {
	same := is == to.Value || is != nil && to.Value != nil && *is == *to.Value
	if !to.Set || same {
		return Optional[T]{}
	}
	return to
}
