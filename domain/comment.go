package domain

import (
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Comment is a member's text about a task.
type Comment struct {
	ID         uuid.UUID   `json:"id"`
	TaskID     uuid.UUID   `json:"task_id"`
	ParentID   *uuid.UUID  `json:"parent_id"` // the comment that it answers
	Body       string      `json:"body"`
	MentionIDs []uuid.UUID `json:"mention_ids"` // the members who are mentioned in the body as @<id>
	CreatedBy  uuid.UUID   `json:"created_by"`
	CreatedAt  time.Time   `json:"created_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
	DeletedAt  *time.Time  `json:"deleted_at"`
	Version    int         `json:"version"`
	Position   int64       `json:"position"`
}

// CommentStream names the stream of a comment.
func CommentStream(id uuid.UUID) string { return "comment-" + id.String() }

// The events of a comment.
type (
	CommentCreated struct {
		TaskID     uuid.UUID   `json:"task_id"`
		ParentID   *uuid.UUID  `json:"parent_id,omitempty"`
		Body       string      `json:"body"`
		MentionIDs []uuid.UUID `json:"mention_ids,omitempty"`
	}
	CommentUpdated struct {
		Body       string      `json:"body"`
		MentionIDs []uuid.UUID `json:"mention_ids,omitempty"` // all of them
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
		*c = Comment{ID: id, TaskID: e.TaskID, ParentID: e.ParentID, Body: e.Body, MentionIDs: list(e.MentionIDs), CreatedBy: r.Who(), CreatedAt: r.When()}
	case CommentUpdated:
		c.Body, c.MentionIDs = e.Body, list(e.MentionIDs)
	case CommentDeleted:
		c.DeletedAt = &r.At
	}
	c.UpdatedAt, c.Version, c.Position = r.At, r.Version, r.Position
}

// NewComment writes a comment on a task. answers is the comment that it answers, nil for none. members are those of Mentioned(body) that
// are ids of members.
func NewComment(task uuid.UUID, body string, answers *Comment, members []uuid.UUID) ([]Event, error) {
	if err := checkText("/body", body, 1, MaxBody); err != nil {
		return nil, err
	}
	created := CommentCreated{TaskID: task, Body: body, MentionIDs: members}
	if answers != nil {
		if answers.TaskID != task || answers.DeletedAt != nil {
			return nil, InvalidField("/parent_id", "must be a comment on the same task")
		}
		created.ParentID = &answers.ID
	}
	return []Event{created}, nil
}

// Edit changes the text; the same text gives no event. A person whom the old and the new text mention stays mentioned, also when that
// person is no member any more.
func (c Comment) Edit(body string, members []uuid.UUID) ([]Event, error) {
	if err := checkText("/body", body, 1, MaxBody); err != nil {
		return nil, err
	}
	if body == c.Body {
		return nil, nil
	}
	var mentioned []uuid.UUID
	for _, id := range Mentioned(body) {
		if slices.Contains(members, id) || slices.Contains(c.MentionIDs, id) {
			mentioned = append(mentioned, id)
		}
	}
	return []Event{CommentUpdated{Body: body, MentionIDs: mentioned}}, nil
}

var mention = regexp.MustCompile(`@([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\b`)

// Mentioned gives the ids that a text mentions, each once: an @ followed by the id of a member. A name is no mention, because two members
// may have the same one.
func Mentioned(body string) (ids []uuid.UUID) {
	for _, found := range mention.FindAllStringSubmatch(body, -1) {
		if id := uuid.MustParse(found[1]); !slices.Contains(ids, id) && len(ids) < MaxPeople {
			ids = append(ids, id)
		}
	}
	return ids
}

// Delete deletes the comment. The answers to the comment stay.
func (c Comment) Delete() ([]Event, error) { return []Event{CommentDeleted{}}, nil }

// Parts gives the member's parts in the comment.
func (c Comment) Parts(member uuid.UUID) Parts { return creator(c.CreatedBy, member) }
