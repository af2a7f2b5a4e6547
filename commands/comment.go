package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateComment adds a comment to a task that the member may see. parent is the comment that it answers; nil for none.
func (c *Commands) CreateComment(ctx context.Context, r Request, task uuid.UUID, body string, parent *uuid.UUID) (Result[domain.Comment], error) {
	mentioned := domain.Mentioned(body)
	id, members, answered := uuid.Must(uuid.NewV7()), []uuid.UUID{}, []projections.Row[domain.Comment]{}
	return createWithin(ctx, c, r, projections.Comments, domain.CreateComment, id, projections.Tasks, task,
		func(a *attempt, _ domain.Task) (decision, error) {
			var other *domain.Comment
			var guards []eventstore.Guard
			if parent != nil {
				if err := a.read(ctx, projections.Comments.Load(&answered, a.by, *parent)); err != nil {
					return decision{}, err
				}
				if len(answered) == 0 || !answered[0].Visible {
					return decision{}, domain.InvalidField("/parent_id", "must be a comment on the same task")
				}
				other = &answered[0].State
				guards = append(guards, eventstore.Guard{Stream: domain.CommentStream(*parent), Version: answered[0].At})
			}
			events, err := domain.NewComment(task, body, other, members)
			return decision{events: events, guarding: guards}, err
		}, projections.Mentionable(&members, r.By, mentioned))
}

// EditComment changes the text of a comment.
func (c *Commands) EditComment(ctx context.Context, r Request, id uuid.UUID, body string) (Result[domain.Comment], error) {
	var members []uuid.UUID
	return changeOne(ctx, c, r, projections.Comments, domain.UpdateComment, id,
		stateOnly(func(comment domain.Comment) ([]domain.Event, error) { return comment.Edit(body, members) }),
		projections.Mentionable(&members, r.By, domain.Mentioned(body)))
}

// DeleteComment deletes a comment.
func (c *Commands) DeleteComment(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Comment], error) {
	return changeOne(ctx, c, r, projections.Comments, domain.DeleteComment, id, stateOnly(domain.Comment.Delete))
}
