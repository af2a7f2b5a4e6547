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
		ParentID        *uuid.UUID   `json:"parent_id,omitempty"`
		AssigneeIDs     []uuid.UUID  `json:"assignee_ids,omitempty" maxItems:"100"`
		TagIDs          []uuid.UUID  `json:"tag_ids,omitempty" maxItems:"100"`
		EstimateMinutes *int         `json:"estimate_minutes,omitempty" minimum:"0" maximum:"1000000"`
	}
	taskPatch struct {
		Title           optional[string]      `json:"title,omitzero" minLength:"1" maxLength:"500"`
		Description     optional[string]      `json:"description,omitzero" maxLength:"65536"`
		Status          optional[string]      `json:"status,omitzero" enum:"open,in_progress,done,cancelled"`
		Priority        optional[string]      `json:"priority,omitzero" enum:"none,low,medium,high,urgent"`
		StartOn         nullable[domain.Date] `json:"start_on,omitzero" format:"date"`
		DueOn           nullable[domain.Date] `json:"due_on,omitzero" format:"date"`
		ProjectID       nullable[uuid.UUID]   `json:"project_id,omitzero" doc:"A task that moves gets a new key, and answers to the old one as well."`
		ParentID        nullable[uuid.UUID]   `json:"parent_id,omitzero"`
		AssigneeIDs     optional[[]uuid.UUID] `json:"assignee_ids,omitzero" maxItems:"100"`
		TagIDs          optional[[]uuid.UUID] `json:"tag_ids,omitzero" maxItems:"100"`
		EstimateMinutes nullable[int]         `json:"estimate_minutes,omitzero" minimum:"0" maximum:"1000000"`
	}

	taskGet struct {
		ByID
		AsOf Instant `query:"as_of" doc:"The task as it was at this instant."`
	}
)

func task(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/tasks", ID: "list-tasks", Tag: "task", Status: http.StatusOK,
		Summary: "List tasks", Access: needs(domain.ReadTask),
		Description: "Filters narrow each other: a task is listed when it passes all that are given. A filter that takes several values, comma separated, lets pass what has any of them; none stands for having no value."},
		projections.Tasks, itself, a.listTasks)
	command(a, operation{Method: "POST", Path: "/api/tasks", ID: "create-task", Tag: "task", Status: http.StatusCreated,
		Summary: "Create a task", Access: needs(domain.CreateTask)}, a.createTask)
	register(a, operation{Method: "GET", Path: "/api/tasks/{id}", ID: "get-task", Tag: "task", Status: http.StatusOK,
		Summary: "Get a task, as it is or as it was", Access: needs(domain.ReadTask)}, a.getTask)
	command(a, operation{Method: "PATCH", Path: "/api/tasks/{id}", ID: "update-task", Tag: "task", Status: http.StatusOK,
		Summary: "Change fields of a task", Access: needs(domain.UpdateTask)}, a.updateTask)
	register(a, operation{Method: "GET", Path: "/api/tasks/{id}/history", ID: "get-task-history", Tag: "task", Status: http.StatusOK,
		Summary: "Who changed what, when", Description: "Of a deleted task as well: who deleted it stands at the end.", Access: needs(domain.ReadTask)}, history(a, projections.Tasks))

	type change func(*commands.Commands, context.Context, commands.Request, uuid.UUID) (commands.Result[domain.Task], error)
	for _, c := range []struct {
		name, summary string
		permission    domain.Permission
		change        change
	}{
		{"complete", "Make a task done", domain.UpdateTask, (*commands.Commands).CompleteTask},
		{"reopen", "Make a task that is done or cancelled open again", domain.UpdateTask, (*commands.Commands).ReopenTask},
		{"restore", "Bring a deleted task back", domain.DeleteTask, (*commands.Commands).RestoreTask},
	} {
		command(a, operation{Method: "POST", Path: "/api/tasks/{id}/" + c.name, ID: c.name + "-task", Tag: "task",
			Status: http.StatusOK, Summary: c.summary, Access: needs(c.permission)},
			func(ctx context.Context, r commands.Request, in *doing) (*wrote[domain.Task], error) {
				return answered(c.change(a.Commands, ctx, r, in.ID))
			})
	}
	command(a, operation{Method: "DELETE", Path: "/api/tasks/{id}", ID: "delete-task", Tag: "task", Status: http.StatusNoContent,
		Summary: "Delete a task; it can be restored", Access: needs(domain.DeleteTask)},
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
		command(a, operation{Method: c.method, Path: "/api/tasks/{id}/" + c.people + "/{member_id}", ID: c.id, Tag: "task",
			Status: http.StatusNoContent, Summary: c.summary, Access: needs(domain.UpdateTask)},
			func(ctx context.Context, r commands.Request, in *personal) (*written204, error) {
				return noContent(c.change(a.Commands, ctx, r, in.ID, in.MemberID))
			})
	}
}

func (a *api) createTask(ctx context.Context, r commands.Request, in *creating[taskFields]) (*wrote[domain.Task], error) {
	return answered(a.Commands.CreateTask(ctx, r, domain.TaskCreated(in.Body)))
}

func (a *api) getTask(ctx context.Context, by projections.Actor, in *taskGet) (*shows[domain.Task], error) {
	if in.AsOf.Value != nil {
		return one(a.Views.TaskAsOf(ctx, by, in.ID, *in.AsOf.Value))
	}
	return one(projections.Tasks.Get(ctx, a.Views, by, in.ID))
}

func (a *api) updateTask(ctx context.Context, r commands.Request, in *changing[taskPatch]) (*wrote[domain.Task], error) {
	b := in.Body
	return answered(a.Commands.UpdateTask(ctx, r, in.ID, domain.TaskChange{
		Title: b.Title.Value, Description: b.Description.Value, Status: b.Status.Value, Priority: b.Priority.Value,
		StartOn: b.StartOn.Optional, DueOn: b.DueOn.Optional, ProjectID: b.ProjectID.Optional, ParentID: b.ParentID.Optional,
		EstimateMinutes: b.EstimateMinutes.Optional, AssigneeIDs: b.AssigneeIDs.Value, TagIDs: b.TagIDs.Value,
	}))
}
