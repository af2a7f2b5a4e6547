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
	MaxSubtasks  = 1000 // that move with a task into another project or into the trash
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
	Key             *string        `json:"key"` // in its project; the keys in earlier projects find the task as well
	ParentID        *uuid.UUID     `json:"parent_id"`
	AssigneeIDs     []uuid.UUID    `json:"assignee_ids"`
	ViewerIDs       []uuid.UUID    `json:"viewer_ids"`
	TagIDs          []uuid.UUID    `json:"tag_ids"`   // as they were given: TagsNow gives the present ones
	Relations       []TaskRelation `json:"relations"` // also in the state of the other task
	Rank            string         `json:"rank"`      // the place in the manual order: smaller bytes come first
	EstimateMinutes *int           `json:"estimate_minutes"`
	ExternalSource  *string        `json:"external_source"`
	ExternalID      *string        `json:"external_id"`
	CreatedBy       uuid.UUID      `json:"created_by"`
	CreatedAt       time.Time      `json:"created_at"`
	UpdatedAt       time.Time      `json:"updated_at"`
	CompletedAt     *time.Time     `json:"completed_at"`
	DeletedAt       *time.Time     `json:"deleted_at"`
	DeletedWithID   *uuid.UUID     `json:"deleted_with_id"` // the ancestor with which the task was deleted and with which it is restored
	Version         int            `json:"version"`
	Position        int64          `json:"position"`
}

// TaskStream names the stream of a task.
func TaskStream(id uuid.UUID) string { return "task-" + id.String() }

// TaskChange holds the new values of a task's fields. A field that is nil or not set stays.
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
	Before, After   *uuid.UUID // puts the task directly before, or behind, that task in the manual order
}

// NewTask makes a task. An empty status means open, an empty priority none. The caller must have checked that the project, the parent, the
// assignees and the tags exist.
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

// Change gives the events that a TaskChange makes of the task's present state. A change to the present values gives no events. now has the
// tags that the task has or will have.
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

// Moves tells whether a change moves the task into another project, or out of its project.
func (t Task) Moves(c TaskChange) bool { return changedOptional(t.ProjectID, c.ProjectID).Set }

// Move moves the task into the project to which its ancestor moves; nil for none.
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

// Complete sets the status to done. A task that is done gives no event.
func (t Task) Complete() ([]Event, error) {
	if t.Status == "done" {
		return nil, nil
	}
	return []Event{TaskCompleted{}}, nil
}

// Reopen sets the status of a task that is done or cancelled to open. Any other task gives no event.
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

// Delete puts the task into the trash, from which it can be restored.
func (t Task) Delete() ([]Event, error) {
	if t.DeletedAt != nil {
		return nil, Missing("task")
	}
	return []Event{TaskDeleted{}}, nil
}

// DeleteWith deletes the task together with its ancestor. A task that is deleted already gives no event, and is later restored by itself.
func (t Task) DeleteWith(above uuid.UUID) []Event {
	if t.DeletedAt != nil {
		return nil
	}
	return []Event{TaskDeleted{WithID: &above}}
}

// Restore takes the task out of the trash. A task that is not deleted gives no event. parentGone tells whether the parent is deleted.
func (t Task) Restore(parentGone bool) ([]Event, error) {
	if t.DeletedAt == nil {
		return nil, nil
	}
	if parentGone {
		return nil, Refuse(Conflict, "parent_deleted", "the parent task is deleted: restore the parent first")
	}
	return []Event{TaskRestored{}}, nil
}

// RestoreWith restores the task together with an ancestor, if the task was deleted together with that ancestor.
func (t Task) RestoreWith(above uuid.UUID) []Event {
	if t.DeletedWithID == nil || *t.DeletedWithID != above {
		return nil
	}
	return []Event{TaskRestored{}}
}

// Assign and Unassign change one assignee, AddViewer and RemoveViewer one viewer. A call that changes nothing gives no events.
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

// changed gives to when it differs from is, else nil.
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

// Parts gives the member's parts in the task.
func (t Task) Parts(member uuid.UUID) Parts {
	return partsOf(has{Creator, t.CreatedBy == member}, has{Assignee, slices.Contains(t.AssigneeIDs, member)},
		has{Viewer, slices.Contains(t.ViewerIDs, member)})
}
