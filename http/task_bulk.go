package http

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	// bulkTask has the fields of a new task and of a change. Values are judged operation by operation, so that a wrong
	// value refuses one operation: the schema has only those rules that make the whole request unreadable.
	bulkTask struct {
		Title           optional[string]      `json:"title,omitzero" doc:"1 to 500 characters; required to create a task." example:"Paint the door"`
		Description     optional[string]      `json:"description,omitzero" doc:"Up to 65,536 characters."`
		Status          optional[string]      `json:"status,omitzero" doc:"open, in_progress, done or cancelled." example:"open"`
		Priority        optional[string]      `json:"priority,omitzero" doc:"none, low, medium, high or urgent." example:"high"`
		StartOn         nullable[string]      `json:"start_on,omitzero" doc:"A date, not behind due_on." example:"2026-12-01"`
		DueOn           nullable[string]      `json:"due_on,omitzero" doc:"A date." example:"2026-12-31"`
		ProjectID       nullable[uuid.UUID]   `json:"project_id,omitzero" doc:"As in a single request."`
		ParentID        nullable[uuid.UUID]   `json:"parent_id,omitzero" doc:"The task above it, which is there already. Both are in one project: without project_id, a new task is in that of the task above."`
		AssigneeIDs     optional[[]uuid.UUID] `json:"assignee_ids,omitzero" doc:"Up to 100 members."`
		TagIDs          optional[[]uuid.UUID] `json:"tag_ids,omitzero" doc:"Up to 100 tags."`
		EstimateMinutes nullable[int]         `json:"estimate_minutes,omitzero" doc:"0 to 1,000,000." example:"90"`
		ExternalSource  nullable[string]      `json:"external_source,omitzero" doc:"1 to 100 characters; with external_id." example:"github.com/acme/web"`
		ExternalID      nullable[string]      `json:"external_id,omitzero" doc:"1 to 200 characters." example:"4711"`
		Before          optional[uuid.UUID]   `json:"before,omitzero" doc:"To change a task only: as in a single request."`
		After           optional[uuid.UUID]   `json:"after,omitzero" doc:"To change a task only: as in a single request."`
	}
	bulkOperation struct {
		Op   string   `json:"op" enum:"create,update" doc:"create makes a task, update changes one."`
		ID   *string  `json:"id,omitempty" pattern:"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Za-z]{2,10}-[1-9][0-9]{0,8})$" patternDescription:"a UUID or a key such as WEB-12" example:"WEB-12" doc:"The id of the task to update, or a key of it, such as WEB-12; none to create one."`
		Task bulkTask `json:"task"`
	}
	bulkTasks struct {
		Atomic     bool            `json:"atomic" doc:"true: all operations are done, or none."`
		Operations []bulkOperation `json:"operations" minItems:"1" maxItems:"1000" doc:"What is to be done, in this order."`
	}
	bulkResult struct {
		Status  int          `json:"status" example:"201" doc:"What a request of its own would have been answered with: 201, 200, or the status of the problem."`
		ID      *uuid.UUID   `json:"id,omitempty" doc:"The task; absent when the operation was refused."`
		ETag    *string      `json:"etag,omitempty" example:"\"1\"" doc:"The version of the task behind the operation, in quotes; absent when it was refused."`
		Problem *bulkProblem `json:"problem,omitempty" doc:"Why the operation was refused; absent when it was done."`
	}
	bulkProblem struct { // a problem without what is of the whole request
		Type   string  `json:"type" format:"uri-reference" doc:"Names the kind of problem: /api/problems/ and its code."`
		Title  string  `json:"title" doc:"The kind of problem, for a person."`
		Detail string  `json:"detail" doc:"What is wrong this time, for a person."`
		Code   string  `json:"code" doc:"The kind of problem, for a program. Stable." example:"task_not_found"`
		Errors []fault `json:"errors,omitempty" doc:"What is wrong where."`
	}
	bulkResults struct {
		Results []bulkResult `json:"results" doc:"One for each operation, in their order."`
	}
)

// maxBulkBody is the longest body of a bulk request: some 8 kB for each of 1,000 operations.
const maxBulkBody = 8 << 20

func taskBulk(a *api) {
	command(a, operation{Method: "POST", Path: "/api/tasks/bulk", ID: "bulk-tasks", Tag: "task", Status: http.StatusOK, MaxBody: maxBulkBody,
		Summary: "Create and update many tasks", Description: "Up to 1,000 operations, in their order: each sees what those before it did, and tasks of one project get their numbers in " +
			"this order. With atomic the first answer to a wrong operation is a problem whose errors point to all that are wrong, and nothing is done. Without, each operation has a " +
			"result of its own. Creating takes the permission `task:create` as well. With an Idempotency-Key the same results come again, refused operations among them.",
		Access: needs(domain.UpdateTask)}, a.bulkTasks)
}

func (a *api) bulkTasks(ctx context.Context, r commands.Request, in *creating[bulkTasks]) (*wrote[bulkResults], error) {
	ids, err := a.tasksNamed(ctx, r.By, in.Body.Operations)
	if err != nil {
		return nil, err
	}
	operations := make([]commands.TaskOperation, len(in.Body.Operations))
	for i, o := range in.Body.Operations {
		at := "/operations/" + strconv.Itoa(i)
		switch {
		case o.Op == "create" && o.ID != nil:
			return nil, domain.InvalidField(at+"/id", "is for updates: a new task gets its id here")
		case o.Op == "create" && o.Task.Before.Set:
			return nil, domain.InvalidField(at+"/task/before", "is for updates: a new task comes behind all others")
		case o.Op == "create" && o.Task.After.Set:
			return nil, domain.InvalidField(at+"/task/after", "is for updates: a new task comes behind all others")
		case o.Op == "update" && o.ID == nil:
			return nil, domain.InvalidField(at+"/id", "is required")
		case o.Op == "create":
			created := o.Task.created()
			operations[i].Create = &created
		default:
			operations[i] = commands.TaskOperation{ID: ids[i], Change: o.Task.change()}
		}
	}
	done, err := a.Commands.BulkTasks(ctx, r, in.Body.Atomic, operations)
	if err != nil {
		return nil, err
	}
	body := bulkResults{Results: make([]bulkResult, len(done.State))}
	for i, outcome := range done.State {
		body.Results[i] = exchangeOf(ctx).resultOf(i, outcome)
	}
	return &wrote[bulkResults]{commandHeaders(done.Position, 0), body}, nil
}

// tasksNamed gives the id of the task that each operation names, by its id or by a key. uuid.Nil is of no task.
func (a *api) tasksNamed(ctx context.Context, by projections.Actor, operations []bulkOperation) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, len(operations))
	keys := map[int]string{} // by operation
	for i, o := range operations {
		if o.ID == nil {
			continue
		}
		if key, is := domain.ReadTaskKey(*o.ID); is {
			keys[i] = key
		} else {
			ids[i], _ = uuid.Parse(*o.ID) // the schema has refused everything else
		}
	}
	if len(keys) == 0 {
		return ids, nil
	}
	found, err := a.Projections.TasksOfKeys(ctx, by, slices.Collect(maps.Values(keys)))
	for i, key := range keys {
		ids[i] = found[key]
	}
	return ids, err
}

func (x *exchange) resultOf(i int, o commands.TaskOutcome) bulkResult {
	if o.Refused != nil {
		p := x.refused(o.Refused)
		for j := range p.Errors {
			p.Errors[j].Pointer = "/operations/" + strconv.Itoa(i) + "/task" + p.Errors[j].Pointer
		}
		return bulkResult{Status: p.Status, Problem: &bulkProblem{p.Type, p.Title, p.Detail, p.Code, p.Errors}}
	}
	status, tag := http.StatusOK, etag(o.Version)
	if o.Created {
		status = http.StatusCreated
	}
	return bulkResult{Status: status, ID: &o.ID, ETag: &tag}
}

func (b bulkTask) change() domain.TaskChange {
	return domain.TaskChange{
		Title: b.Title.Value, Description: b.Description.Value, Status: b.Status.Value, Priority: b.Priority.Value,
		StartOn: dateOf(b.StartOn), DueOn: dateOf(b.DueOn), ProjectID: b.ProjectID.Optional, ParentID: b.ParentID.Optional,
		EstimateMinutes: b.EstimateMinutes.Optional, ExternalSource: b.ExternalSource.Optional, ExternalID: b.ExternalID.Optional,
		AssigneeIDs: b.AssigneeIDs.Value, TagIDs: b.TagIDs.Value, Before: b.Before.Value, After: b.After.Value,
	}
}

func (b bulkTask) created() domain.TaskCreated {
	return domain.TaskCreated{
		Title: valueOf(b.Title.Value), Description: valueOf(b.Description.Value), Status: valueOf(b.Status.Value), Priority: valueOf(b.Priority.Value),
		StartOn: dateOf(b.StartOn).Value, DueOn: dateOf(b.DueOn).Value, ProjectID: b.ProjectID.Value, ParentID: b.ParentID.Value,
		AssigneeIDs: valueOf(b.AssigneeIDs.Value), TagIDs: valueOf(b.TagIDs.Value), EstimateMinutes: b.EstimateMinutes.Value,
		ExternalSource: b.ExternalSource.Value, ExternalID: b.ExternalID.Value,
	}
}

// valueOf is the value of a field that may be left out.
func valueOf[T any](value *T) (v T) {
	if value != nil {
		v = *value
	}
	return v
}

func dateOf(text nullable[string]) domain.Optional[domain.Date] {
	return domain.Optional[domain.Date]{Set: text.Set, Value: (*domain.Date)(text.Value)}
}
