package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// CreateComment says something about a task that the member may see.
func (c *Commands) CreateComment(ctx context.Context, r Request, task uuid.UUID, body string) (Result[domain.Comment], error) {
	return createWithin(ctx, c, r, projections.Comments, domain.CreateComment, uuid.Must(uuid.NewV7()), projections.Tasks, task,
		only(func(domain.Task) ([]domain.Event, error) { return domain.NewComment(task, body) }))
}

// EditComment changes the text of a comment.
func (c *Commands) EditComment(ctx context.Context, r Request, id uuid.UUID, body string) (Result[domain.Comment], error) {
	return changeOne(ctx, c, r, projections.Comments, domain.UpdateComment, id,
		only(func(comment domain.Comment) ([]domain.Event, error) { return comment.Edit(body) }))
}

// DeleteComment takes a comment away.
func (c *Commands) DeleteComment(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Comment], error) {
	return changeOne(ctx, c, r, projections.Comments, domain.DeleteComment, id, only(domain.Comment.Delete))
}
