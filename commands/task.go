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
	return create(ctx, c, r, projections.Tasks, domain.CreateTask, id, func(a *attempt) (creation, error) {
		created := wanted
		created.AssigneeIDs, created.TagIDs = unique(wanted.AssigneeIDs), unique(wanted.TagIDs)
		relied, err := c.lookAround(ctx, a, id, wanted.ParentID, created.AssigneeIDs)
		if err == nil && created.TagIDs != nil {
			var onTags []eventstore.Guard
			_, onTags, err = c.lookAtTags(ctx, a, id, created.TagIDs)
			relied = append(relied, onTags...)
		}
		if err != nil {
			return creation{}, err
		}
		events, err := domain.NewTask(created)
		return creation{events: events, guarding: relied}, err
	})
}

// UpdateTask changes fields of a task.
func (c *Commands) UpdateTask(ctx context.Context, r Request, id uuid.UUID, wanted domain.TaskChange) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (creation, error) {
		relied, err := c.lookAround(ctx, a, id, wanted.ParentID.Value, newPeople(task.AssigneeIDs, wanted.AssigneeIDs))
		var now domain.TagsNow
		if err == nil && wanted.TagIDs != nil {
			var onTags []eventstore.Guard
			now, onTags, err = c.lookAtTags(ctx, a, id, *wanted.TagIDs)
			relied = append(relied, onTags...)
		}
		if err != nil {
			return creation{}, err
		}
		events, err := task.Change(wanted, now)
		return creation{events: events, guarding: relied}, err
	})
}

// CompleteTask makes a task done.
func (c *Commands) CompleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, only(domain.Task.Complete))
}

// ReopenTask makes a task that is done or cancelled open again.
func (c *Commands) ReopenTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, only(domain.Task.Reopen))
}

// DeleteTask hides a task.
func (c *Commands) DeleteTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, only(domain.Task.Delete))
}

// RestoreTask shows a deleted task again.
func (c *Commands) RestoreTask(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Task], error) {
	return changeGone(ctx, c, r, projections.Tasks, domain.DeleteTask, id, only(domain.Task.Restore))
}

// UnassignTask takes a task off a member.
func (c *Commands) UnassignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return changePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, projections.CountMembers, domain.Task.Unassign)
}

// RemoveTaskViewer takes a member off the viewers of a task.
func (c *Commands) RemoveTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return changePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, projections.CountMembers, domain.Task.RemoveViewer)
}

// AssignTask gives a task to a member.
func (c *Commands) AssignTask(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return changePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, projections.CountActive, domain.Task.Assign)
}

// AddTaskViewer lets a member see a task.
func (c *Commands) AddTaskViewer(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Task], error) {
	return changePerson(ctx, c, r, projections.Tasks, domain.UpdateTask, id, member, projections.CountActive, domain.Task.AddViewer)
}

// lookAround looks up the parent and the people that a task is to have. It gives guards on the parent and
// on all above it, so that no race makes a circle; the people are guarded by the roster.
func (c *Commands) lookAround(ctx context.Context, a *attempt, task uuid.UUID, parent *uuid.UUID, people []uuid.UUID) (guards []eventstore.Guard, err error) {
	var above []projections.Ancestor
	var active int
	var asked []pg.Statement
	if parent != nil {
		asked = append(asked, projections.Ancestors(&above, a.by, parent))
	}
	if len(people) > 0 {
		asked = append(asked, projections.CountActive(&active, people))
	}
	if asked == nil {
		return nil, nil
	}
	if err := a.look(ctx, asked...); err != nil {
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
