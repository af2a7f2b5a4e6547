package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Comments is the read model of the comments.
var Comments = newModel("comment", domain.CommentStream,
	ofKind("comment"),
	(*domain.Comment).Apply,
	func(c domain.Comment) uuid.UUID { return c.ID })

// ownComment is which comments scope own reaches: one's own, and all on tasks that are one's own. A
// comment is seen only where its task is: $3 is the scope on tasks.
const (
	ownComment     = `comment.created_by = $2 or ` + ownTask
	commentColumns = `comment.id, comment.task_id, comment.body, comment.created_by, comment.created_at, comment.updated_at,
		comment.deleted_at, comment.version, comment.position`
	commentVisible = `task.deleted_at is null
		and ($3 = 'all' or $3 = 'own' and (` + ownTask + `))
		and ($1 = 'all' or $1 = 'own' and (` + ownComment + `))`
	listComments = `select ` + commentColumns + ` from comment join task on task.id = comment.task_id
		where comment.task_id = $4 and comment.deleted_at is null and ` + commentVisible + `
		  and ($5::uuid is null or comment.id < $5) order by comment.id desc limit $6`
	loadComment = `select ` + commentColumns + `,
			` + commentVisible + ` as visible,
			comment.created_by = $2 as own,
			task.version as task_version
		from comment join task on task.id = comment.task_id
		where comment.id = $4 and comment.deleted_at is null`
)

// ListComments answers with the comments on a task, the newest first. The task must be one that the actor may see.
func (p *Projections) ListComments(ctx context.Context, by Actor, task uuid.UUID, page Page) ([]domain.Comment, Mark, error) {
	if _, mark, err := p.GetTask(ctx, by, task); err != nil {
		return nil, mark, err
	}
	return list[domain.Comment](ctx, p, by.Workspace, page, listComments,
		by.Scope(domain.ReadComment), by.Member, by.Scope(domain.ReadTask), task, page.After)
}

// CommentRow is a comment with what the actor's scopes say of it. To change or delete it, own means written by oneself.
type CommentRow struct {
	domain.Comment
	Visible     bool
	Own         bool
	TaskVersion int // of the task, which must be there and to be seen
}

// LoadComment is the query for a decision on a comment.
func LoadComment(into *[]CommentRow, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadComment, by.Scope(domain.ReadComment), by.Member, by.Scope(domain.ReadTask), id)
}
