package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Tasks is the read model of the tasks.
var Tasks = newNoun(
	newModel("task", domain.TaskStream, domain.TaskOf, (*domain.Task).Apply, func(t domain.Task) uuid.UUID { return t.ID }).alsoAt(keyPositions),
	Sight{Read: domain.ReadTask, Own: ownTask, Project: `task.project_id`, Gone: `task.deleted_at`, As: map[string]string{"tag_ids": taskTags}},
	Lists{Filter: TaskFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}, {Field: "due_on", By: noDay}, {Field: "start_on", By: noDay},
		{Field: "priority", Values: domain.TaskPriorities}, {Field: "status", Values: domain.TaskStatuses}}})

// ownTask is which tasks scope own reaches: created by, assigned to, or with the member as a viewer.
const ownTask = `(task.created_by = $2 or task.assignee_ids @> array[$2::uuid] or task.viewer_ids @> array[$2::uuid])`

// TaskAsOf answers with a task as it was at a moment. Who may see it is decided on the task as it is now.
func (p *Projections) TaskAsOf(ctx context.Context, by Actor, id uuid.UUID, at time.Time) (domain.Task, Mark, error) {
	_, mark, err := Tasks.GetGone(ctx, p, by, id)
	if err != nil {
		return domain.Task{}, mark, err
	}
	task, records, err := Tasks.story(ctx, p, by.Workspace, id, mark.Position, &at)
	for _, r := range records {
		Tasks.apply(&task, r)
	}
	if err == nil && (task.ID == uuid.Nil || task.DeletedAt != nil) {
		err = domain.Missing("task")
	}
	if err == nil {
		task, err = Tasks.Show(ctx, p, by.Workspace, task, &at)
	}
	return task, mark, err
}

// TaskFilter chooses tasks; what is zero chooses all.
type TaskFilter struct {
	Status    []string     `among:"task.status"`
	Priority  []string     `among:"task.priority"`
	Assignee  IDs          `overlap:"task.assignee_ids"`
	Viewer    IDs          `overlap:"task.viewer_ids"`
	Tag       IDs          `overlap:"task.tag_ids" none:"task.tag_ids <@ array(select old.id from tag as old where not exists (select from tag as now where now.id = coalesce(old.merged_into, old.id) and now.deleted_at is null))"`
	Project   IDs          `among:"task.project_id"`
	Parent    IDs          `among:"task.parent_id"`
	Creator   []uuid.UUID  `among:"task.created_by"`
	DueFirst  *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) >= @ and task.due_on is not null"`
	DueLast   *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) <= @"`
	DueAfter  *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) > @ and task.due_on is not null"`
	DueBefore *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) < @"`
	NoDue     bool         `where:"coalesce(task.due_on, 'infinity'::date) = 'infinity'"`
	Undone    bool         `where:"task.status not in ('done', 'cancelled')"`
	Since     *time.Time   `where:"task.updated_at >= @"`
}

// ListTasks answers with the tasks that the actor may see.
func (p *Projections) ListTasks(ctx context.Context, by Actor, f TaskFilter, page Page) ([]domain.Task, Mark, error) {
	f, err := p.withMerged(ctx, by, f)
	if err != nil {
		return nil, Mark{}, err
	}
	return Tasks.List(ctx, p, by, page, f)
}

// MaxDepth is how deep tasks are nested at most: Ancestors looks no further.
const MaxDepth = 1000

// Ancestor is a task above another.
type Ancestor struct {
	ID             uuid.UUID
	Version        int
	Visible        bool
	ProjectID      uuid.UUID // in which it is; uuid.Nil for none
	ProjectVersion int
}

var ancestors = `with recursive above as (
		select task.*, 1 as depth from task where id = $3 and deleted_at is null
		union all select task.*, depth + 1 from task join above on task.id = above.parent_id where depth < 1000)
	select id, version, coalesce(` + Tasks.sight.visible("$1") + `, false) as visible, coalesce(project_id, ` + nobody + `) as project_id,
		coalesce((select version from project as its where its.id = project_id), 0) as project_version from above as task order by depth`

// Ancestors is the query for a task and all above it, itself first; no rows for nil, or for one that is not there.
func Ancestors(into *[]Ancestor, by Actor, task *uuid.UUID) pg.Statement {
	//sqlcheck:allow made once, of constants
	return pg.Rows(into, ancestors, by.Scope(domain.ReadTask), by.Member, task)
}
