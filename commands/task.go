package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateTask creates a task. In a project the task gets the next key in the same append.
func (c *Commands) CreateTask(ctx context.Context, r Request, wanted domain.TaskCreated) (Result[domain.Task], error) {
	id := uuid.Must(uuid.NewV7())
	return create(ctx, c, r, projections.Tasks, domain.CreateTask, id, func(a *attempt) (decision, error) {
		return decideOne(ctx, a, newTask(id, wanted))
	})
}

// UpdateTask changes fields of a task, and its place in the order by hand. A task that moves to another project takes all tasks below it along, and each
// gets a key there in the same append.
func (c *Commands) UpdateTask(ctx context.Context, r Request, id uuid.UUID, wanted domain.TaskChange) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (decision, error) {
		return decideOne(ctx, a, taskEdit{task: task, change: wanted})
	})
}

func decideOne(ctx context.Context, a *attempt, w taskEdit) (decision, error) {
	f, err := loadDependencies(ctx, a, w)
	if err != nil {
		return decision{}, err
	}
	d, err := f.decide(w)
	return d.decision(domain.TaskStream(w.task.ID)), err
}

// CompleteTask makes a task done.
func (c *Commands) CompleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, stateOnly(domain.Task.Complete))
}

// ReopenTask makes a task that is done or cancelled open again.
func (c *Commands) ReopenTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, stateOnly(domain.Task.Reopen))
}

// DeleteTask hides a task and all below it.
func (c *Commands) DeleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, func(a *attempt, task domain.Task) (decision, error) {
		events, err := task.Delete()
		if err != nil {
			return decision{}, err
		}
		return withSubtasks(ctx, a, task, events, func(t domain.Task) []domain.Event { return t.DeleteWith(id) })
	})
}

// RestoreTask shows a deleted task again, with those below it that were deleted with it.
func (c *Commands) RestoreTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, func(a *attempt, task domain.Task) (decision, error) {
		var above []projections.Ancestor
		if err := a.read(ctx, projections.Ancestors(&above, a.by, present(task.ParentID))); err != nil {
			return decision{}, err
		}
		events, err := task.Restore(slices.ContainsFunc(above, func(t projections.Ancestor) bool { return t.Gone }))
		if err != nil || events == nil {
			return decision{}, err
		}
		made, err := withSubtasks(ctx, a, task, events, func(t domain.Task) []domain.Event { return t.RestoreWith(id) })
		for _, t := range above {
			made.guarding = append(made.guarding, eventstore.Guard{Stream: domain.TaskStream(t.ID), Version: t.Version})
		}
		return made, err
	})
}

// withSubtasks adds to the events of a task those that same gives for the tasks below it.
func withSubtasks(ctx context.Context, a *attempt, task domain.Task, events []domain.Event, same func(domain.Task) []domain.Event) (decision, error) {
	f, err := loadSubtasks(ctx, a, task.ID)
	if err != nil {
		return decision{}, err
	}
	var d draft
	d.write(domain.TaskStream(task.ID), task.Version, events...)
	along, err := f.takeAlong(&d, task.ID, domain.DeleteTask)
	for _, t := range along {
		d.write(domain.TaskStream(t.ID), t.Version, same(t)...)
	}
	return d.decision(domain.TaskStream(task.ID)), err
}

// UnassignTask removes a member from the assignees of a task.
func (c *Commands) UnassignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return removePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.Unassign)
}

// RemoveTaskViewer removes a member from the viewers of a task.
func (c *Commands) RemoveTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return removePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.RemoveViewer)
}

// AssignTask adds a member to the assignees of a task.
func (c *Commands) AssignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return addPerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.Assign)
}

// AddTaskViewer lets a member see a task.
func (c *Commands) AddTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return addPerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.AddViewer)
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

// newPeople gives the ids in wanted that are not in current; none when wanted is nil.
func newPeople(current []uuid.UUID, wanted *[]uuid.UUID) (people []uuid.UUID) {
	if wanted == nil {
		return nil
	}
	known := map[uuid.UUID]bool{}
	for _, id := range current {
		known[id] = true
	}
	for _, id := range unique(*wanted) {
		if !known[id] {
			people = append(people, id)
		}
	}
	return people
}
