package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Comments is the read model of the comments. A caller sees a comment only when the caller sees its task.
var Comments = newNoun(
	newModel("comment", domain.CommentStream, ofKind("comment"), (*domain.Comment).Apply, func(c domain.Comment) uuid.UUID { return c.ID }),
	Sight{Read: domain.ReadComment, Own: ownComment, Gone: `comment.deleted_at`,
		Within: within(Tasks, `comment.task_id`)},
	Lists{Filter: CommentFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}}})

// ownComment is the condition for scope own: comments by the member. Scope own also shows the comments on the member's own tasks.
const ownComment = `comment.created_by = $2`

// CommentFilter chooses the comments on a task.
type CommentFilter struct {
	Task *uuid.UUID `where:"comment.task_id = @"`
}
