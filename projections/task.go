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
	Sight{Read: domain.ReadTask, Own: ownTask, Project: `task.project_id`, Gone: `task.deleted_at`, Filter: `
		and ($7 = '' or task.status = $7)
		and ($8::uuid is null or task.assignee_ids @> array[$8::uuid])
		and ($9::uuid is null or task.parent_id = $9)
		and ($11::uuid is null or task.project_id = $11)
		and ` + taskHasTag, As: map[string]string{"tag_ids": taskTags}})

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

// TaskFilter chooses tasks; zero values choose all.
type TaskFilter struct {
	Status   string
	Assignee *uuid.UUID
	Parent   *uuid.UUID
	Project  *uuid.UUID
	Tags     []uuid.UUID // with any of them
	Deleted  bool        // those that are deleted, and no others
}

// ListTasks answers with the tasks that the actor may see, the newest first.
func (p *Projections) ListTasks(ctx context.Context, by Actor, f TaskFilter, page Page) ([]domain.Task, Mark, error) {
	return Tasks.List(ctx, p, by, page, f.Deleted, f.Status, f.Assignee, f.Parent, f.Tags, f.Project)
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
