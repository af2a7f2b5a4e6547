package domain

import (
	"time"

	"github.com/google/uuid"
)

// Comment is what a member says about a task.
type Comment struct {
	ID        uuid.UUID  `json:"id"`
	TaskID    uuid.UUID  `json:"task_id"`
	Body      string     `json:"body"`
	CreatedBy uuid.UUID  `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	DeletedAt *time.Time `json:"deleted_at"`
	Version   int        `json:"version"`
	Position  int64      `json:"position"`
}

// CommentStream names the stream of a comment.
func CommentStream(id uuid.UUID) string { return "comment-" + id.String() }

// The events of a comment.
type (
	CommentCreated struct {
		TaskID uuid.UUID `json:"task_id"`
		Body   string    `json:"body"`
	}
	CommentUpdated struct {
		Body string `json:"body"`
	}
	CommentDeleted struct{}
)

func init() {
	register[CommentCreated]("comment.created")
	register[CommentUpdated]("comment.updated")
	register[CommentDeleted]("comment.deleted")
}

// Apply folds one event of the comment's stream into its state.
func (c *Comment) Apply(r Record) {
	switch e := r.Event.(type) {
	case CommentCreated:
		id, _ := StreamID("comment", r.Stream)
		*c = Comment{ID: id, TaskID: e.TaskID, Body: e.Body, CreatedBy: r.Who(), CreatedAt: r.When()}
	case CommentUpdated:
		c.Body = e.Body
	case CommentDeleted:
		c.DeletedAt = &r.At
	}
	c.UpdatedAt, c.Version, c.Position = r.At, r.Version, r.Position
}

// NewComment says something about a task.
func NewComment(task uuid.UUID, body string) ([]Event, error) {
	if err := checkText("/body", body, 1, MaxBody); err != nil {
		return nil, err
	}
	return []Event{CommentCreated{TaskID: task, Body: body}}, nil
}

// Edit changes the text; the same text gives no event.
func (c Comment) Edit(body string) ([]Event, error) {
	if err := checkText("/body", body, 1, MaxBody); err != nil {
		return nil, err
	}
	if body == c.Body {
		return nil, nil
	}
	return []Event{CommentUpdated{Body: body}}, nil
}

// Delete takes the comment away.
func (c Comment) Delete() ([]Event, error) { return []Event{CommentDeleted{}}, nil }
