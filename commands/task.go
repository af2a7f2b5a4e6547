package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// CreateTask begins a task.
func (c *Commands) CreateTask(ctx context.Context, r Request, wanted domain.TaskCreated) (Result[domain.Task], error) {
	id := uuid.Must(uuid.NewV7())
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		people := unique(wanted.AssigneeIDs)
		relied, err := c.lookAround(ctx, a, id, wanted.ParentID, people)
		if err == nil {
			err = allow(a.by, domain.CreateTask)
		}
		if err != nil {
			return plan{}, err
		}
		created := wanted
		created.AssigneeIDs = people
		events, err := domain.NewTask(created)
		return plan{stream: domain.TaskStream(id), events: events, guarding: relied}, err
	})
	return result(ctx, c, r, projections.Tasks, domain.Task{}, done, err)
}

// UpdateTask changes fields of a task.
func (c *Commands) UpdateTask(ctx context.Context, r Request, id uuid.UUID, wanted domain.TaskChange) (Result[domain.Task], error) {
	before := domain.Task{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		task, err := c.loadTask(ctx, a, r, id, domain.UpdateTask)
		if err != nil {
			return plan{}, err
		}
		before = task
		people := newPeople(task.AssigneeIDs, wanted.AssigneeIDs)
		relied, err := c.lookAround(ctx, a, id, wanted.ParentID.Value, people)
		if err != nil {
			return plan{}, err
		}
		events, err := task.Change(wanted)
		return plan{stream: domain.TaskStream(id), version: task.Version, events: events, guarding: relied}, err
	})
	return result(ctx, c, r, projections.Tasks, before, done, err)
}

// CompleteTask makes a task done.
func (c *Commands) CompleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return c.changeTask(ctx, r, id, domain.UpdateTask, domain.Task.Complete)
}

// ReopenTask makes a task that is done or cancelled open again.
func (c *Commands) ReopenTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return c.changeTask(ctx, r, id, domain.UpdateTask, domain.Task.Reopen)
}

// DeleteTask hides a task.
func (c *Commands) DeleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return c.changeTask(ctx, r, id, domain.DeleteTask, domain.Task.Delete)
}

// RestoreTask shows a deleted task again.
func (c *Commands) RestoreTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return c.changeTask(ctx, r, id, domain.DeleteTask, domain.Task.Restore)
}

// UnassignTask takes a task off a member.
func (c *Commands) UnassignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return c.changePerson(ctx, r, id, member, projections.CountMembers, domain.Task.Unassign)
}

// RemoveTaskViewer takes a member off the viewers of a task.
func (c *Commands) RemoveTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return c.changePerson(ctx, r, id, member, projections.CountMembers, domain.Task.RemoveViewer)
}

// AssignTask gives a task to a member.
func (c *Commands) AssignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return c.changePerson(ctx, r, id, member, projections.CountActive, domain.Task.Assign)
}

// AddTaskViewer lets a member see a task.
func (c *Commands) AddTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return c.changePerson(ctx, r, id, member, projections.CountActive, domain.Task.AddViewer)
}

// changePerson changes one member's part in a task. count finds the members who can have it.
func (c *Commands) changePerson(ctx context.Context, r Request, id, member uuid.UUID,
	count func(*int, []uuid.UUID) pg.Statement, decide func(domain.Task, uuid.UUID) ([]domain.Event, error),
) (Result[domain.Task], error) {
	before := domain.Task{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		task, err := c.loadTask(ctx, a, r, id, domain.UpdateTask)
		if err != nil {
			return plan{}, err
		}
		before = task
		var there int
		if err := a.look(ctx, count(&there, []uuid.UUID{member})); err != nil {
			return plan{}, err
		}
		if there == 0 {
			return plan{}, domain.Missing("member")
		}
		events, err := decide(task, member)
		return plan{stream: domain.TaskStream(id), version: task.Version, events: events}, err
	})
	return result(ctx, c, r, projections.Tasks, before, done, err)
}

// changeTask is for every command that decides on nothing but the task itself.
func (c *Commands) changeTask(ctx context.Context, r Request, id uuid.UUID, permission domain.Permission, decide func(domain.Task) ([]domain.Event, error)) (Result[domain.Task], error) {
	before := domain.Task{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		task, err := c.loadTask(ctx, a, r, id, permission)
		if err != nil {
			return plan{}, err
		}
		before = task
		events, err := decide(task)
		return plan{stream: domain.TaskStream(id), version: task.Version, events: events}, err
	})
	return result(ctx, c, r, projections.Tasks, before, done, err)
}

// loadTask reads a task for a decision. A deleted one is there only for who may delete, to be restored.
func (c *Commands) loadTask(ctx context.Context, a *attempt, r Request, id uuid.UUID, permission domain.Permission) (domain.Task, error) {
	var rows []projections.TaskRow
	if err := a.look(ctx, projections.LoadTask(&rows, a.by, id)); err != nil {
		return domain.Task{}, err
	}
	if len(rows) == 0 || !rows[0].Visible || rows[0].DeletedAt != nil && permission != domain.DeleteTask {
		return domain.Task{}, domain.Missing("task")
	}
	if err := allowOn(a.by, permission, rows[0].Own); err != nil {
		return domain.Task{}, err
	}
	return rows[0].Task, r.match(rows[0].Version)
}

// lookAround looks up the parent and the people that a task is to have. It gives guards on the parent and
// on all above it, so that no race makes a circle; the people are guarded by the roster.
func (c *Commands) lookAround(ctx context.Context, a *attempt, task uuid.UUID, parent *uuid.UUID, people []uuid.UUID) (guards []eventstore.Guard, err error) {
	var above []projections.Ancestor
	var active int
	if err := a.look(ctx, projections.Ancestors(&above, a.by, parent), projections.CountActive(&active, people)); err != nil {
		return nil, err
	}
	if active != len(people) {
		return nil, domain.InvalidField("/assignee_ids", "every id must be of a member who is not deactivated")
	}
	if parent != nil && (len(above) == 0 || !above[0].Visible) {
		return nil, domain.InvalidField("/parent_id", "there is no such task")
	}
	if len(above) >= projections.MaxDepth {
		return nil, domain.InvalidField("/parent_id", "is nested too deep: %d tasks are above it", len(above)-1)
	}
	for _, t := range above {
		if t.ID == task {
			return nil, domain.InvalidField("/parent_id", "the task is above that one")
		}
		guards = append(guards, eventstore.Guard{Stream: domain.TaskStream(t.ID), Version: t.Version})
	}
	return guards, nil
}

func unique(ids []uuid.UUID) (distinct []uuid.UUID) {
	seen := map[uuid.UUID]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			distinct = append(distinct, id)
		}
	}
	return distinct
}

// newPeople is who of wanted is not among those there are.
func newPeople(are []uuid.UUID, wanted *[]uuid.UUID) (people []uuid.UUID) {
	if wanted == nil {
		return nil
	}
	known := map[uuid.UUID]bool{}
	for _, id := range are {
		known[id] = true
	}
	for _, id := range unique(*wanted) {
		if !known[id] {
			people = append(people, id)
		}
	}
	return people
}
