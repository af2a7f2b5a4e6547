package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateComment says something about a task that the member may see.
func (c *Commands) CreateComment(ctx context.Context, r Request, task uuid.UUID, body string) (Result[domain.Comment], error) {
	id := uuid.Must(uuid.NewV7())
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.TaskRow
		if err := a.look(ctx, projections.LoadTask(&rows, a.by, task)); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 || !rows[0].Visible || rows[0].DeletedAt != nil {
			return plan{}, domain.Missing("task")
		}
		if err := allowOn(a.by, domain.CreateComment, rows[0].Own); err != nil {
			return plan{}, err
		}
		events, err := domain.NewComment(task, body)
		onTask := eventstore.Guard{Stream: domain.TaskStream(task), Version: rows[0].Version}
		return plan{stream: domain.CommentStream(id), events: events, guarding: []eventstore.Guard{onTask}}, err
	})
	return result(ctx, c, r, projections.Comments, domain.Comment{}, done, err)
}

// EditComment changes the text of a comment.
func (c *Commands) EditComment(ctx context.Context, r Request, id uuid.UUID, body string) (Result[domain.Comment], error) {
	return c.changeComment(ctx, r, id, domain.UpdateComment, func(comment domain.Comment) ([]domain.Event, error) { return comment.Edit(body) })
}

// DeleteComment takes a comment away.
func (c *Commands) DeleteComment(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Comment], error) {
	return c.changeComment(ctx, r, id, domain.DeleteComment, domain.Comment.Delete)
}

func (c *Commands) changeComment(ctx context.Context, r Request, id uuid.UUID, permission domain.Permission, decide func(domain.Comment) ([]domain.Event, error)) (Result[domain.Comment], error) {
	before := domain.Comment{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.CommentRow
		if err := a.look(ctx, projections.LoadComment(&rows, a.by, id)); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 || !rows[0].Visible {
			return plan{}, domain.Missing("comment")
		}
		if err := allowOn(a.by, permission, rows[0].Own); err != nil {
			return plan{}, err
		}
		before = rows[0].Comment
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := decide(before)
		onTask := eventstore.Guard{Stream: domain.TaskStream(before.TaskID), Version: rows[0].TaskVersion}
		return plan{stream: domain.CommentStream(id), version: before.Version, events: events, guarding: []eventstore.Guard{onTask}}, err
	})
	return result(ctx, c, r, projections.Comments, before, done, err)
}
