package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateTask begins a task. In a project it gets the next key in the same append.
func (c *Commands) CreateTask(ctx context.Context, r Request, wanted domain.TaskCreated) (Result[domain.Task], error) {
	id := uuid.Must(uuid.NewV7())
	return create(ctx, c, r, projections.Tasks, domain.CreateTask, id, func(a *attempt) (creation, error) {
		return grantOne(ctx, a, newTask(id, wanted))
	})
}

// UpdateTask changes fields of a task, and puts it somewhere else in the order by hand. One that moves to another project takes all
// tasks below it along, and each gets a key there in the same append.
func (c *Commands) UpdateTask(ctx context.Context, r Request, id uuid.UUID, wanted domain.TaskChange) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (creation, error) {
		return grantOne(ctx, a, taskEdit{task: task, change: wanted})
	})
}

func grantOne(ctx context.Context, a *attempt, w taskEdit) (creation, error) {
	f, err := loadDependencies(ctx, a, w)
	if err != nil {
		return creation{}, err
	}
	d, err := f.decide(w)
	return d.made(domain.TaskStream(w.task.ID)), err
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
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, func(a *attempt, task domain.Task) (creation, error) {
		events, err := task.Delete()
		if err != nil {
			return creation{}, err
		}
		return withSubtasks(ctx, a, task, events, func(t domain.Task) []domain.Event { return t.DeleteWith(id) })
	})
}

// RestoreTask shows a deleted task again, with those below it that were deleted with it.
func (c *Commands) RestoreTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, func(a *attempt, task domain.Task) (creation, error) {
		var above []projections.Ancestor
		if err := a.read(ctx, projections.Ancestors(&above, a.by, present(task.ParentID))); err != nil {
			return creation{}, err
		}
		events, err := task.Restore(slices.ContainsFunc(above, func(t projections.Ancestor) bool { return t.Gone }))
		if err != nil || events == nil {
			return creation{}, err
		}
		made, err := withSubtasks(ctx, a, task, events, func(t domain.Task) []domain.Event { return t.RestoreWith(id) })
		for _, t := range above {
			made.guarding = append(made.guarding, eventstore.Guard{Stream: domain.TaskStream(t.ID), Version: t.Version})
		}
		return made, err
	})
}

// withSubtasks adds to the events of a task those of all below it that are to go the same way.
func withSubtasks(ctx context.Context, a *attempt, task domain.Task, events []domain.Event, same func(domain.Task) []domain.Event) (creation, error) {
	f, err := loadSubtasks(ctx, a, task.ID)
	if err != nil {
		return creation{}, err
	}
	var d draft
	d.write(domain.TaskStream(task.ID), task.Version, events...)
	along, err := f.takeAlong(&d, task.ID, domain.DeleteTask)
	for _, t := range along {
		d.write(domain.TaskStream(t.ID), t.Version, same(t)...)
	}
	return d.made(domain.TaskStream(task.ID)), err
}

// UnassignTask takes a task off a member.
func (c *Commands) UnassignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return removePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.Unassign)
}

// RemoveTaskViewer takes a member off the viewers of a task.
func (c *Commands) RemoveTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return removePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, domain.Task.RemoveViewer)
}

// AssignTask gives a task to a member.
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
