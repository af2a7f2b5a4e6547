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
	taskFields struct {
		Title           string       `json:"title" minLength:"1" maxLength:"500"`
		Description     string       `json:"description,omitempty" maxLength:"65536"`
		Status          string       `json:"status,omitempty" enum:"open,in_progress,done,cancelled"`
		Priority        string       `json:"priority,omitempty" enum:"none,low,medium,high,urgent"`
		StartOn         *domain.Date `json:"start_on,omitempty" format:"date"`
		DueOn           *domain.Date `json:"due_on,omitempty" format:"date"`
		ProjectID       *uuid.UUID   `json:"project_id,omitempty" doc:"The task gets the next key there, such as WEB-12."`
		ParentID        *uuid.UUID   `json:"parent_id,omitempty" doc:"The task above it. Both are in one project: without project_id, in that of the task above."`
		AssigneeIDs     []uuid.UUID  `json:"assignee_ids,omitempty" maxItems:"100"`
		TagIDs          []uuid.UUID  `json:"tag_ids,omitempty" maxItems:"100"`
		EstimateMinutes *int         `json:"estimate_minutes,omitempty" minimum:"0" maximum:"1000000"`
		ExternalSource  *string      `json:"external_source,omitempty" minLength:"1" maxLength:"100" example:"github.com/acme/web" doc:"Where the task comes from. With external_id, which no two tasks have there."`
		ExternalID      *string      `json:"external_id,omitempty" minLength:"1" maxLength:"200" example:"4711"`
	}
	taskPatch struct {
		Title           optional[string]      `json:"title,omitzero" minLength:"1" maxLength:"500"`
		Description     optional[string]      `json:"description,omitzero" maxLength:"65536"`
		Status          optional[string]      `json:"status,omitzero" enum:"open,in_progress,done,cancelled"`
		Priority        optional[string]      `json:"priority,omitzero" enum:"none,low,medium,high,urgent"`
		StartOn         nullable[domain.Date] `json:"start_on,omitzero" format:"date"`
		DueOn           nullable[domain.Date] `json:"due_on,omitzero" format:"date"`
		ProjectID       nullable[uuid.UUID]   `json:"project_id,omitzero" doc:"A task that moves takes all tasks below it along. Each gets a new key, and answers to the old one as well."`
		ParentID        nullable[uuid.UUID]   `json:"parent_id,omitzero" doc:"The task above it, of the same project."`
		AssigneeIDs     optional[[]uuid.UUID] `json:"assignee_ids,omitzero" maxItems:"100"`
		TagIDs          optional[[]uuid.UUID] `json:"tag_ids,omitzero" maxItems:"100"`
		EstimateMinutes nullable[int]         `json:"estimate_minutes,omitzero" minimum:"0" maximum:"1000000"`
		ExternalSource  nullable[string]      `json:"external_source,omitzero" minLength:"1" maxLength:"100" example:"github.com/acme/web"`
		ExternalID      nullable[string]      `json:"external_id,omitzero" minLength:"1" maxLength:"200" example:"4711"`
		Before          optional[uuid.UUID]   `json:"before,omitzero" doc:"Puts the task directly before that one in the order by hand, in which rank sorts."`
		After           optional[uuid.UUID]   `json:"after,omitzero" doc:"Puts the task directly behind that one in the order by hand."`
	}
	taskRelation struct {
		ByID
		Conditional
		Kind    string    `path:"kind" enum:"blocks,duplicates,relates"`
		OtherID uuid.UUID `path:"other_id" doc:"The id of the other task."`
	}
)

func task(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/tasks", ID: "list-tasks", Tag: "task", Status: http.StatusOK,
		Summary: "List tasks", Access: needs(domain.ReadTask),
		Description: "Filters narrow each other: a task is listed when it passes all that are given. A filter that takes several values, comma separated, lets pass what has any of them; none stands for having no value. " +
			"With q, a task also has the words of its comments, and is found by each key that it has or had, such as WEB-12."},
		projections.Tasks, a.listTasks)
	command(a, operation{Method: "POST", Path: "/api/tasks", ID: "create-task", Tag: "task", ReadsFirst: true, Status: http.StatusCreated,
		Summary: "Create a task", Access: needs(domain.CreateTask)}, a.createTask)
	register(a, operation{Method: "GET", Path: "/api/tasks/{id}", ID: "get-task", Tag: "task", Status: http.StatusOK,
		Summary: "Get a task, as it is or as it was", Access: needs(domain.ReadTask)}, getting(a, projections.Tasks))
	command(a, operation{Method: "PATCH", Path: "/api/tasks/{id}", ID: "update-task", Tag: "task", ReadsFirst: true, Status: http.StatusOK,
		Summary: "Change fields of a task", Access: needs(domain.UpdateTask)}, a.updateTask)
	register(a, operation{Method: "GET", Path: "/api/tasks/{id}/history", ID: "get-task-history", Tag: "task", Status: http.StatusOK,
		Summary: "Who changed what, when", Description: "The story of a task: its comments and its time are in it, as far as the caller may see them. Of a deleted task as well: who deleted it stands at the end.", Access: needs(domain.ReadTask)}, history(a, projections.Tasks))

	type change func(*commands.Commands, context.Context, commands.Request, uuid.UUID) (commands.Result[domain.Task], error)
	for _, c := range []struct {
		name, summary string
		permission    domain.Permission
		change        change
	}{
		{"complete", "Make a task done", domain.UpdateTask, (*commands.Commands).CompleteTask},
		{"reopen", "Make a task that is done or cancelled open again", domain.UpdateTask, (*commands.Commands).ReopenTask},
		{"restore", "Bring a deleted task back, with those below it that were deleted with it", domain.DeleteTask, (*commands.Commands).RestoreTask},
	} {
		command(a, operation{Method: "POST", Path: "/api/tasks/{id}/" + c.name, ID: c.name + "-task", Tag: "task", ReadsFirst: true,
			Status: http.StatusOK, Summary: c.summary, Access: needs(c.permission)},
			func(ctx context.Context, r commands.Request, in *doing) (*wrote[domain.Task], error) {
				return answered(c.change(a.Commands, ctx, r, in.ID))
			})
	}
	command(a, operation{Method: "DELETE", Path: "/api/tasks/{id}", ID: "delete-task", Tag: "task", ReadsFirst: true, Status: http.StatusNoContent,
		Summary: "Delete a task and all below it", Description: "They can be restored, together with the one above.", Access: needs(domain.DeleteTask)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteTask(ctx, r, in.ID))
		})

	type person func(*commands.Commands, context.Context, commands.Request, uuid.UUID, uuid.UUID) (commands.Result[domain.Task], error)
	for _, c := range []struct {
		method, people, id, summary string
		change                      person
	}{
		{"PUT", "assignees", "assign-task", "Give a task to a member", (*commands.Commands).AssignTask},
		{"DELETE", "assignees", "unassign-task", "Take a task off a member", (*commands.Commands).UnassignTask},
		{"PUT", "viewers", "add-task-viewer", "Let a member see a task", (*commands.Commands).AddTaskViewer},
		{"DELETE", "viewers", "remove-task-viewer", "Take a member off the viewers of a task", (*commands.Commands).RemoveTaskViewer},
	} {
		command(a, operation{Method: c.method, Path: "/api/tasks/{id}/" + c.people + "/{member_id}", ID: c.id, Tag: "task", ReadsFirst: true,
			Status: http.StatusNoContent, Summary: c.summary, Access: needs(domain.UpdateTask)},
			func(ctx context.Context, r commands.Request, in *personal) (*written204, error) {
				return noContent(c.change(a.Commands, ctx, r, in.ID, in.MemberID))
			})
	}
	taskRelations(a)
}

func taskRelations(a *api) {
	type relation func(*commands.Commands, context.Context, commands.Request, uuid.UUID, string, uuid.UUID) (commands.Result[domain.Task], error)
	for _, c := range []struct {
		method, id, summary, description string
		change                           relation
	}{
		{"PUT", "relate-task", "Relate a task to another one", "Both tasks show it: blocks is blocked_by at the other end, duplicates is duplicated_by, relates is relates. " +
			"What blocks, or duplicates, makes no circle.", (*commands.Commands).RelateTask},
		{"DELETE", "unrelate-task", "Take a relation off two tasks", "", (*commands.Commands).UnrelateTask},
	} {
		command(a, operation{Method: c.method, Path: "/api/tasks/{id}/relations/{kind}/{other_id}", ID: c.id, Tag: "task", ReadsFirst: true, Status: http.StatusNoContent,
			Summary: c.summary, Description: c.description, Access: needs(domain.UpdateTask)},
			func(ctx context.Context, r commands.Request, in *taskRelation) (*written204, error) {
				return noContent(c.change(a.Commands, ctx, r, in.ID, in.Kind, in.OtherID))
			})
	}
}

func (a *api) createTask(ctx context.Context, r commands.Request, in *creating[taskFields]) (*wrote[domain.Task], error) {
	return answered(a.Commands.CreateTask(ctx, r, domain.TaskCreated(in.Body)))
}

func (a *api) updateTask(ctx context.Context, r commands.Request, in *changing[taskPatch]) (*wrote[domain.Task], error) {
	b := in.Body
	return answered(a.Commands.UpdateTask(ctx, r, in.ID, domain.TaskChange{
		Title: b.Title.Value, Description: b.Description.Value, Status: b.Status.Value, Priority: b.Priority.Value,
		StartOn: b.StartOn.Optional, DueOn: b.DueOn.Optional, ProjectID: b.ProjectID.Optional, ParentID: b.ParentID.Optional,
		EstimateMinutes: b.EstimateMinutes.Optional, ExternalSource: b.ExternalSource.Optional, ExternalID: b.ExternalID.Optional,
		AssigneeIDs: b.AssigneeIDs.Value, TagIDs: b.TagIDs.Value, Before: b.Before.Value, After: b.After.Value,
	}))
}
