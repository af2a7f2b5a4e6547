package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Tasks is the read model of the tasks.
var Tasks = newModel("task", domain.TaskStream,
	ofKind("task"),
	(*domain.Task).Apply,
	func(t domain.Task) uuid.UUID { return t.ID })

// ownTask is which tasks scope own reaches: created by, assigned to, or with the member as a viewer.
const (
	ownTask     = `task.created_by = $2 or task.assignee_ids @> array[$2::uuid] or task.viewer_ids @> array[$2::uuid]`
	taskVisible = `($1 = 'all' or $1 = 'own' and (` + ownTask + `))`
	taskColumns = `id, title, description, status, priority, start_on::text, due_on::text, parent_id, assignee_ids, viewer_ids,
		estimate_minutes, created_by, created_at, updated_at, completed_at, deleted_at, version, position`
	selectTask = `select ` + taskColumns + ` from task where id = $3 and (deleted_at is null or $4) and ` + taskVisible
	listTasks  = `select ` + taskColumns + ` from task
		where (deleted_at is not null) = $7 and ` + taskVisible + `
		  and ($3::uuid is null or id < $3)
		  and ($4 = '' or status = $4)
		  and ($5::uuid is null or assignee_ids @> array[$5::uuid])
		  and ($6::uuid is null or parent_id = $6)
		order by id desc limit $8`
	ancestors = `with recursive above as (
			select task.*, 1 as depth from task where id = $3 and deleted_at is null
			union all select task.*, depth + 1 from task join above on task.id = above.parent_id where depth < 1000)
		select id, version, ` + taskVisible + ` as visible from above as task order by depth`
	loadTask = `select ` + taskColumns + `, ` + taskVisible + ` as visible, (` + ownTask + `) as own from task where id = $3`
)

// GetTask answers with one task that the actor may see.
func (p *Projections) GetTask(ctx context.Context, by Actor, id uuid.UUID) (domain.Task, Mark, error) {
	return get[domain.Task](ctx, p, by.Workspace, "task", selectTask, by.Scope(domain.ReadTask), by.Member, id, false)
}

// evenDeleted is GetTask for what was: who deleted a task, and what was in it, is for those to know who saw it.
func (p *Projections) evenDeleted(ctx context.Context, by Actor, id uuid.UUID) (Mark, error) {
	_, mark, err := get[domain.Task](ctx, p, by.Workspace, "task", selectTask, by.Scope(domain.ReadTask), by.Member, id, true)
	return mark, err
}

// TaskAsOf answers with a task as it was at a moment. Who may see it is decided on the task as it is now.
func (p *Projections) TaskAsOf(ctx context.Context, by Actor, id uuid.UUID, at time.Time) (domain.Task, Mark, error) {
	mark, err := p.evenDeleted(ctx, by, id)
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
	return task, mark, err
}

// TaskFilter chooses tasks; zero values choose all.
type TaskFilter struct {
	Status   string
	Assignee *uuid.UUID
	Parent   *uuid.UUID
	Deleted  bool // those that are deleted, and no others
}

// ListTasks answers with the tasks that the actor may see, the newest first.
func (p *Projections) ListTasks(ctx context.Context, by Actor, f TaskFilter, page Page) ([]domain.Task, Mark, error) {
	return list[domain.Task](ctx, p, by.Workspace, page, listTasks,
		by.Scope(domain.ReadTask), by.Member, page.After, f.Status, f.Assignee, f.Parent, f.Deleted)
}

// TaskRow is a task with what the actor's scopes say of it.
type TaskRow struct {
	domain.Task
	Visible bool
	Own     bool
}

// LoadTask is the query for a decision on a task: the row as it is, deleted or not.
func LoadTask(into *[]TaskRow, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadTask, by.Scope(domain.ReadTask), by.Member, id)
}

// MaxDepth is how deep tasks are nested at most: Ancestors looks no further.
const MaxDepth = 1000

// Ancestor is a task above another.
type Ancestor struct {
	ID      uuid.UUID
	Version int
	Visible bool
}

// Ancestors is the query for a task and all above it, itself first; no rows for nil, or for one that is not there.
func Ancestors(into *[]Ancestor, by Actor, task *uuid.UUID) pg.Statement {
	return pg.Rows(into, ancestors, by.Scope(domain.ReadTask), by.Member, task)
}
