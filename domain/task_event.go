package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// The events of a task.
type (
	TaskCreated struct {
		Title           string      `json:"title"`
		Description     string      `json:"description,omitempty"`
		Status          string      `json:"status"`
		Priority        string      `json:"priority"`
		StartOn         *Date       `json:"start_on,omitempty"`
		DueOn           *Date       `json:"due_on,omitempty"`
		ProjectID       *uuid.UUID  `json:"project_id,omitempty"`
		ParentID        *uuid.UUID  `json:"parent_id,omitempty"`
		AssigneeIDs     []uuid.UUID `json:"assignee_ids,omitempty"`
		TagIDs          []uuid.UUID `json:"tag_ids,omitempty"`
		EstimateMinutes *int        `json:"estimate_minutes,omitempty"`
		ExternalSource  *string     `json:"external_source,omitempty"`
		ExternalID      *string     `json:"external_id,omitempty"`
	}
	// TaskUpdated holds only the fields that changed.
	TaskUpdated struct {
		Title           *string             `json:"title,omitempty"`
		Description     *string             `json:"description,omitempty"`
		Status          *string             `json:"status,omitempty"` // never to or from done: see TaskCompleted and TaskReopened
		Priority        *string             `json:"priority,omitempty"`
		StartOn         Optional[Date]      `json:"start_on,omitzero"`
		DueOn           Optional[Date]      `json:"due_on,omitzero"`
		ProjectID       Optional[uuid.UUID] `json:"project_id,omitzero"`
		ParentID        Optional[uuid.UUID] `json:"parent_id,omitzero"`
		EstimateMinutes Optional[int]       `json:"estimate_minutes,omitzero"`
		ExternalSource  Optional[string]    `json:"external_source,omitzero"`
		ExternalID      Optional[string]    `json:"external_id,omitzero"`
	}
	TaskCompleted struct{}
	TaskReopened  struct {
		Status string `json:"status"` // the new status
	}
	TaskAssigned struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	TaskUnassigned struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	TaskViewerAdded struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	TaskViewerRemoved struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	TaskTagged struct {
		TagID uuid.UUID `json:"tag_id"`
	}
	TaskUntagged struct {
		TagID uuid.UUID `json:"tag_id"`
	}
	// TaskRelated and TaskUnrelated are in the streams of both tasks, each with the kind as seen from that task.
	TaskRelated   struct{ TaskRelation }
	TaskUnrelated struct{ TaskRelation }
	TaskRanked    struct {
		Rank string `json:"rank"`
	}
	TaskDeleted struct {
		WithID *uuid.UUID `json:"with_id,omitempty"` // the ancestor with which the task was deleted
	}
	TaskRestored struct{}
)

func init() {
	register[TaskCreated]("task.created")
	register[TaskUpdated]("task.updated")
	register[TaskCompleted]("task.completed")
	register[TaskReopened]("task.reopened")
	register[TaskAssigned]("task.assigned")
	register[TaskUnassigned]("task.unassigned")
	register[TaskViewerAdded]("task.viewer_added")
	register[TaskViewerRemoved]("task.viewer_removed")
	register[TaskTagged]("task.tagged")
	register[TaskUntagged]("task.untagged")
	register[TaskRelated]("task.related")
	register[TaskUnrelated]("task.unrelated")
	register[TaskRanked]("task.ranked")
	register[TaskDeleted]("task.deleted")
	register[TaskRestored]("task.restored")
}

// Apply folds one event of the task's stream into its state. It also folds TaskNumbered, which is in the stream of the project's key and
// therefore no version of the task.
func (t *Task) Apply(r Record) {
	if key, given := KeyOf(r); given {
		t.Key, t.Position = &key, r.Position
		return
	}
	switch e := r.Event.(type) {
	case TaskCreated:
		id, _ := StreamID("task", r.Stream)
		*t = Task{ID: id, Title: e.Title, Description: e.Description, Status: e.Status, Priority: e.Priority,
			StartOn: e.StartOn, DueOn: e.DueOn, ProjectID: e.ProjectID, ParentID: e.ParentID, EstimateMinutes: e.EstimateMinutes,
			ExternalSource: e.ExternalSource, ExternalID: e.ExternalID, AssigneeIDs: list(e.AssigneeIDs), ViewerIDs: list(nil), TagIDs: list(e.TagIDs),
			Relations: []TaskRelation{}, Rank: firstRank(r.Position), CreatedBy: r.Who(), CreatedAt: r.When()}
		if e.Status == "done" {
			t.CompletedAt = r.completed()
		}
	case TaskUpdated:
		t.update(e)
	case TaskCompleted:
		t.Status, t.CompletedAt = "done", r.completed()
	case TaskReopened:
		t.Status, t.CompletedAt = e.Status, nil
	case TaskAssigned:
		t.AssigneeIDs = with(t.AssigneeIDs, e.MemberID)
	case TaskUnassigned:
		t.AssigneeIDs = without(t.AssigneeIDs, e.MemberID)
	case TaskViewerAdded:
		t.ViewerIDs = with(t.ViewerIDs, e.MemberID)
	case TaskViewerRemoved:
		t.ViewerIDs = without(t.ViewerIDs, e.MemberID)
	case TaskTagged:
		t.TagIDs = with(t.TagIDs, e.TagID)
	case TaskUntagged:
		t.TagIDs = without(t.TagIDs, e.TagID)
	case TaskRelated:
		t.Relations = append(slices.Clone(t.Relations), e.TaskRelation)
	case TaskUnrelated:
		t.Relations = slices.DeleteFunc(slices.Clone(t.Relations), func(r TaskRelation) bool { return r == e.TaskRelation })
	case TaskRanked:
		t.Rank = e.Rank
	case TaskDeleted:
		t.DeletedAt, t.DeletedWithID = &r.At, e.WithID
	case TaskRestored:
		t.DeletedAt, t.DeletedWithID = nil, nil
	}
	t.UpdatedAt, t.Version, t.Position = r.At, r.Version, r.Position
}

func (r Record) completed() *time.Time {
	when := r.When()
	return &when
}

func (t *Task) update(e TaskUpdated) {
	set(&t.Title, e.Title)
	set(&t.Description, e.Description)
	set(&t.Status, e.Status)
	set(&t.Priority, e.Priority)
	setOptional(&t.StartOn, e.StartOn)
	setOptional(&t.DueOn, e.DueOn)
	setOptional(&t.ProjectID, e.ProjectID)
	if e.ProjectID.Set {
		t.Key = nil
	}
	setOptional(&t.ParentID, e.ParentID)
	setOptional(&t.EstimateMinutes, e.EstimateMinutes)
	setOptional(&t.ExternalSource, e.ExternalSource)
	setOptional(&t.ExternalID, e.ExternalID)
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func setOptional[T any](field **T, o Optional[T]) {
	if o.Set {
		*field = o.Value
	}
}

// list copies ids and is never nil, so that an empty list is [] and not null in JSON and SQL.
func list(ids []uuid.UUID) []uuid.UUID { return append([]uuid.UUID{}, ids...) }

func with(ids []uuid.UUID, id uuid.UUID) []uuid.UUID {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(list(ids), id)
}

func without(ids []uuid.UUID, id uuid.UUID) []uuid.UUID {
	return slices.DeleteFunc(list(ids), func(other uuid.UUID) bool { return other == id })
}
