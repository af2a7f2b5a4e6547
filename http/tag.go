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
	tagFields struct {
		Name   string  `json:"name" minLength:"1" maxLength:"100" doc:"Unique, without regard to case, spaces and Unicode form."`
		Colour *string `json:"colour,omitempty" pattern:"^#[0-9a-fA-F]{6}$" example:"#1f6feb"`
	}
	tagPatch struct {
		Name   optional[string] `json:"name,omitzero" minLength:"1" maxLength:"100"`
		Colour nullable[string] `json:"colour,omitzero" pattern:"^#[0-9a-fA-F]{6}$" example:"#1f6feb"`
	}
	tagMerge struct {
		Into uuid.UUID `json:"into" doc:"The tag that stays."`
	}
	tagListing struct {
		Sorted
		Searched
	}
	taskTag struct {
		ByID
		Conditional
		TagID uuid.UUID `path:"tag_id"`
	}
)

var tagRow = rowOf(func(t projections.TagUse) domain.Tag { return t.Tag }, func(t domain.Tag) projections.TagUse { return projections.TagUse{Tag: t} })

func tag(a *api) {
	listsMade(a, operation{Method: "GET", Path: "/api/tags", ID: "list-tags", Tag: "tag", Status: http.StatusOK,
		Summary: "List the tags", Access: needs(domain.ReadTag)}, projections.Tags, tagRow,
		func(ctx context.Context, by projections.Actor, _ *tagListing, page projections.Page) ([]projections.TagUse, projections.Mark, error) {
			return a.Projections.ListTags(ctx, by, page)
		})
	command(a, operation{Method: "POST", Path: "/api/tags", ID: "create-tag", Tag: "tag", Status: http.StatusCreated,
		Summary: "Make a tag", Access: needs(domain.CreateTag)},
		func(ctx context.Context, r commands.Request, in *creating[tagFields]) (*wrote[domain.Tag], error) {
			return answered(a.Commands.CreateTag(ctx, r, in.Body.Name, in.Body.Colour))
		})
	register(a, operation{Method: "GET", Path: "/api/tags/{id}", ID: "get-tag", Tag: "tag", Status: http.StatusOK,
		Summary: "Get a tag, as it is or as it was", Access: needs(domain.ReadTag)}, gettingRow(a, projections.Tags, tagRow, a.Projections.GetTag))
	command(a, operation{Method: "PATCH", Path: "/api/tags/{id}", ID: "update-tag", Tag: "tag", Status: http.StatusOK,
		Summary: "Give a tag another name or colour", Access: needs(domain.UpdateTag)},
		func(ctx context.Context, r commands.Request, in *changing[tagPatch]) (*wrote[domain.Tag], error) {
			return answered(a.Commands.UpdateTag(ctx, r, in.ID, in.Body.Name.Value, in.Body.Colour.Optional))
		})
	command(a, operation{Method: "DELETE", Path: "/api/tags/{id}", ID: "delete-tag", Tag: "tag", Status: http.StatusNoContent,
		Summary: "Delete a tag", Description: "Tasks are shown without it; their histories tell of it.", Access: needs(domain.DeleteTag)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteTag(ctx, r, in.ID))
		})
	command(a, operation{Method: "POST", Path: "/api/tags/{id}/merge", ID: "merge-tag", Tag: "tag", Status: http.StatusNoContent,
		Summary: "Merge a tag into another one", Description: "The tag is gone, and the tasks that had it have the other one.", Access: needs(domain.DeleteTag)},
		func(ctx context.Context, r commands.Request, in *changing[tagMerge]) (*written204, error) {
			return noContent(a.Commands.MergeTag(ctx, r, in.ID, in.Body.Into))
		})
	register(a, operation{Method: "GET", Path: "/api/tags/{id}/history", ID: "get-tag-history", Tag: "tag", Status: http.StatusOK,
		Summary: "Who changed what of a tag, when", Description: "Of a tag that is gone as well.", Access: needs(domain.ReadTag)},
		history(a, projections.Tags))

	type change func(*commands.Commands, context.Context, commands.Request, uuid.UUID, uuid.UUID) (commands.Result[domain.Task], error)
	for _, c := range []struct {
		method, id, summary string
		change              change
	}{
		{"PUT", "tag-task", "Give a task a tag", (*commands.Commands).TagTask},
		{"DELETE", "untag-task", "Take a tag off a task", (*commands.Commands).UntagTask},
	} {
		command(a, operation{Method: c.method, Path: "/api/tasks/{id}/tags/{tag_id}", ID: c.id, Tag: "tag", Status: http.StatusNoContent,
			Summary: c.summary, Access: needs(domain.UpdateTask)},
			func(ctx context.Context, r commands.Request, in *taskTag) (*written204, error) {
				return noContent(c.change(a.Commands, ctx, r, in.ID, in.TagID))
			})
	}
}
