package http

import (
	"context"
	"net/http"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	commentFields struct {
		Body string `json:"body" minLength:"1" maxLength:"65536"`
	}
)

func comment(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/tasks/{id}/comments", ID: "list-comments", Tag: "comment", Status: http.StatusOK,
		Summary: "List the comments on a task", Access: needs(domain.ReadComment)}, projections.Comments, itself,
		func(ctx context.Context, by projections.Actor, in *listingIn, page projections.Page) ([]domain.Comment, projections.Mark, error) {
			if _, mark, err := projections.Tasks.Get(ctx, a.Views, by, in.ID); err != nil {
				return nil, mark, err
			}
			return projections.Comments.List(ctx, a.Views, by, page, projections.CommentFilter{Task: &in.ID})
		})
	command(a, operation{Method: "POST", Path: "/api/tasks/{id}/comments", ID: "create-comment", Tag: "comment", Status: http.StatusCreated, Made: "/api/comments/{id}",
		Summary: "Comment on a task", Access: needs(domain.CreateComment)},
		func(ctx context.Context, r commands.Request, in *creatingIn[commentFields]) (*wrote[domain.Comment], error) {
			return answered(a.Commands.CreateComment(ctx, r, in.ID, in.Body.Body))
		})
	command(a, operation{Method: "PATCH", Path: "/api/comments/{id}", ID: "update-comment", Tag: "comment", Status: http.StatusOK,
		Summary: "Change the text of a comment", Access: needs(domain.UpdateComment)},
		func(ctx context.Context, r commands.Request, in *changing[commentFields]) (*wrote[domain.Comment], error) {
			return answered(a.Commands.EditComment(ctx, r, in.ID, in.Body.Body))
		})
	command(a, operation{Method: "DELETE", Path: "/api/comments/{id}", ID: "delete-comment", Tag: "comment", Status: http.StatusNoContent,
		Summary: "Delete a comment", Access: needs(domain.DeleteComment)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteComment(ctx, r, in.ID))
		})
}
