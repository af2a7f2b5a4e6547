package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	commentFields struct {
		Body     string     `json:"body" minLength:"1" maxLength:"65536" doc:"@ and the id of a member mentions that member." example:"Two coats, says @019c0a3e-5b1c-7c11-9f0e-2a54c3c1d9a0."`
		ParentID *uuid.UUID `json:"parent_id,omitempty" doc:"The comment on the same task that this one answers."`
	}
	commentPatch struct {
		Body string `json:"body" minLength:"1" maxLength:"65536" doc:"@ and the id of a member mentions that member."`
	}
	commentBody struct {
		domain.Comment
		Mentions []mentionBody `json:"mentions" doc:"Who is mentioned in the text, as @ and the id, by the name that they have now."`
	}
	mentionBody struct {
		MemberID uuid.UUID `json:"member_id"`
		FullName *string   `json:"full_name" doc:"null when the person was erased."`
	}
)

func comment(a *api) {
	row := row[commentBody, domain.Comment]{func(c commentBody) domain.Comment { return c.Comment }, a.showComments}
	listsMade(a, operation{Method: "GET", Path: "/api/tasks/{id}/comments", ID: "list-comments", Tag: "comment", Status: http.StatusOK,
		Summary: "List the comments on a task", Description: "Answers are among them: parent_id says what they answer. sort=created_at begins with the oldest.",
		Access: needs(domain.ReadComment)}, projections.Comments, row,
		func(ctx context.Context, by projections.Actor, in *listingIn, page projections.Page) ([]commentBody, projections.Mark, error) {
			if _, mark, err := projections.Tasks.Get(ctx, a.Projections, by, in.ID); err != nil {
				return nil, mark, err
			}
			comments, mark, err := projections.Comments.List(ctx, a.Projections, by, page, projections.CommentFilter{Task: &in.ID})
			if err != nil {
				return nil, mark, err
			}
			bodies, err := a.showComments(ctx, by, comments)
			return bodies, mark, err
		})
	command(a, operation{Method: "POST", Path: "/api/tasks/{id}/comments", ID: "create-comment", Tag: "comment", ReadsFirst: true, Status: http.StatusCreated, Made: "/api/comments/{id}",
		Summary: "Comment on a task", Access: needs(domain.CreateComment)},
		func(ctx context.Context, r commands.Request, in *creatingIn[commentFields]) (*wrote[commentBody], error) {
			done, err := a.Commands.CreateComment(ctx, r, in.ID, in.Body.Body, in.Body.ParentID)
			return a.commentAnswer(ctx, r, done, err)
		})
	register(a, operation{Method: "GET", Path: "/api/comments/{id}", ID: "get-comment", Tag: "comment", Status: http.StatusOK,
		Summary: "Get a comment, as it is or as it was", Access: needs(domain.ReadComment)},
		gettingRow(a, projections.Comments, row, func(ctx context.Context, by projections.Actor, id uuid.UUID) (commentBody, projections.Mark, error) {
			found, mark, err := projections.Comments.Get(ctx, a.Projections, by, id)
			if err != nil {
				return commentBody{}, mark, err
			}
			bodies, err := a.showComments(ctx, by, []domain.Comment{found})
			if err != nil {
				return commentBody{}, mark, err
			}
			return bodies[0], mark, nil
		}))
	command(a, operation{Method: "PATCH", Path: "/api/comments/{id}", ID: "update-comment", Tag: "comment", ReadsFirst: true, Status: http.StatusOK,
		Summary: "Change the text of a comment", Description: "What it was before, its history tells.", Access: needs(domain.UpdateComment)},
		func(ctx context.Context, r commands.Request, in *changing[commentPatch]) (*wrote[commentBody], error) {
			done, err := a.Commands.EditComment(ctx, r, in.ID, in.Body.Body)
			return a.commentAnswer(ctx, r, done, err)
		})
	command(a, operation{Method: "DELETE", Path: "/api/comments/{id}", ID: "delete-comment", Tag: "comment", ReadsFirst: true, Status: http.StatusNoContent,
		Summary: "Delete a comment", Description: "Answers to it stay, with its id as their parent_id.", Access: needs(domain.DeleteComment)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteComment(ctx, r, in.ID))
		})
	register(a, operation{Method: "GET", Path: "/api/comments/{id}/history", ID: "get-comment-history", Tag: "comment", Status: http.StatusOK,
		Summary: "Who changed what in a comment, when", Description: "Of a deleted comment as well.", Access: needs(domain.ReadComment)}, history(a, projections.Comments))
}

func (a *api) commentAnswer(ctx context.Context, r commands.Request, done commands.Result[domain.Comment], err error) (*wrote[commentBody], error) {
	if err != nil {
		return nil, err
	}
	bodies, err := a.showComments(ctx, r.By, []domain.Comment{done.State})
	if err != nil {
		return nil, err
	}
	return &wrote[commentBody]{commandHeaders(done.Position, done.State.Version), bodies[0]}, nil
}

// showComments shows comments with the names that the mentioned have now.
func (a *api) showComments(ctx context.Context, by projections.Actor, comments []domain.Comment) ([]commentBody, error) {
	var ids []uuid.UUID
	for _, c := range comments {
		ids = append(ids, c.MentionIDs...)
	}
	names := map[uuid.UUID]string{}
	if len(ids) > 0 {
		var err error
		if names, _, err = a.names(ctx, by, ids); err != nil {
			return nil, err
		}
	}
	bodies := make([]commentBody, len(comments))
	for i, c := range comments {
		bodies[i] = commentBody{c, []mentionBody{}}
		for _, id := range c.MentionIDs {
			mentioned := mentionBody{MemberID: id}
			if name, known := names[id]; known {
				mentioned.FullName = &name
			}
			bodies[i].Mentions = append(bodies[i].Mentions, mentioned)
		}
	}
	return bodies, nil
}
