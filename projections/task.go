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
	taskSight,
	Lists{Filter: TaskFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}, {Field: "due_on", By: noDay}, {Field: "start_on", By: noDay},
		{Field: "priority", Values: domain.TaskPriorities}, {Field: "status", Values: domain.TaskStatuses}, {Field: "rank"}, {Field: "key", By: keyOrder}},
		Search: taskMatchesWords, Keyed: orTaskOfKey, Beside: domain.ReadComment})

var taskSight = shownWithRelations(Sight{Read: domain.ReadTask, Own: ownTask, Project: `task.project_id`, Gone: `task.deleted_at`, As: map[string]string{"tag_ids": taskTags}})

// ownTask is the condition for scope own: tasks created by or assigned to the member, or with the member as a viewer.
const ownTask = `(task.created_by = $2 or task.assignee_ids @> array[$2::uuid] or task.viewer_ids @> array[$2::uuid])`

// keyOrder sorts keys by project, then by number; tasks in no project come last.
const keyOrder = `coalesce(split_part(@, '-', 1) || lpad(split_part(@, '-', 2), 9, '0'), '~') collate "C"`

// TaskFilter chooses tasks; a zero field chooses all.
type TaskFilter struct {
	Status    []string     `among:"task.status" ordered:"id"`
	Priority  []string     `among:"task.priority" ordered:"id"`
	Assignee  IDs          `overlap:"task.assignee_ids"`
	Viewer    IDs          `overlap:"task.viewer_ids"`
	Tag       IDs          `overlap:"task.tag_ids" none:"task.tag_ids <@ array(select old.id from tag as old where not exists (select from tag as now where now.id = coalesce(old.merged_into, old.id) and now.deleted_at is null))"`
	Project   IDs          `among:"task.project_id" ordered:"id rank"`
	Parent    IDs          `among:"task.parent_id" ordered:"id"`
	Creator   []uuid.UUID  `among:"task.created_by" ordered:"id"`
	DueFirst  *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) >= @ and coalesce(task.due_on, 'infinity'::date) < 'infinity'"`
	DueLast   *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) <= @"`
	DueAfter  *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) > @ and coalesce(task.due_on, 'infinity'::date) < 'infinity'"`
	DueBefore *domain.Date `where:"coalesce(task.due_on, 'infinity'::date) < @"`
	NoDue     bool         `where:"coalesce(task.due_on, 'infinity'::date) = 'infinity'"`
	Undone    bool         `where:"task.status not in ('done', 'cancelled')"`
	Since     *time.Time   `where:"task.updated_at >= @"`
	Source    *string      `where:"task.external_source = @ and task.external_id is not null"`
	External  []string     `among:"task.external_id"`
}

// ShowTasks answers with the tasks that the actor may see.
func (p *Projections) ShowTasks(ctx context.Context, by Actor, f TaskFilter, page Page) ([]Shown, Mark, error) {
	f, err := p.withMerged(ctx, by, f)
	if err != nil {
		return nil, Mark{}, err
	}
	return Tasks.ListShown(ctx, p, by, page, f)
}

// MaxDepth is the largest depth of nested tasks.
const MaxDepth = 1000

// Ancestor is a task above another.
type Ancestor struct {
	ID             uuid.UUID
	ParentID       *uuid.UUID
	Version        int
	Gone           bool
	Visible        bool
	ProjectID      *uuid.UUID
	ProjectVersion int
}

var ancestors = `with recursive above as (
		select unnest($3::uuid[]) as id
		union select task.parent_id from above join task on task.id = above.id where task.parent_id is not null)
	select id, parent_id, version, deleted_at is not null as gone, coalesce(` + taskSight.visible("$1") + `, false) as visible, project_id,
		coalesce((select version from project as its where its.id = project_id), 0) as project_version
	from task where id = any(array(select id from above))`

// Ancestors is the query for tasks and all their ancestors, deleted ones too.
func Ancestors(into *[]Ancestor, by Actor, tasks []uuid.UUID) pg.Statement {
	//sqlcheck:allow made once, of constants
	return pg.Rows(into, ancestors, by.Scope(domain.ReadTask), by.Member, tasks)
}
