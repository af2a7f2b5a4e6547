package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// CreateTask begins a task. In a project it gets the next key in the same append.
func (c *Commands) CreateTask(ctx context.Context, r Request, wanted domain.TaskCreated) (Result[domain.Task], error) {
	id := uuid.Must(uuid.NewV7())
	return create(ctx, c, r, projections.Tasks, domain.CreateTask, id, func(a *attempt) (creation, error) {
		created := wanted
		created.AssigneeIDs, created.TagIDs = unique(wanted.AssigneeIDs), unique(wanted.TagIDs)
		made, err := c.lookAround(ctx, a, id, around{permission: domain.CreateTask, project: wanted.ProjectID, parent: wanted.ParentID, people: created.AssigneeIDs})
		if err == nil && created.TagIDs != nil {
			var onTags []eventstore.Guard
			_, onTags, err = c.lookAtTags(ctx, a, id, created.TagIDs)
			made.guarding = append(made.guarding, onTags...)
		}
		if err != nil {
			return creation{}, err
		}
		made.events, err = domain.NewTask(created)
		return made, err
	})
}

// UpdateTask changes fields of a task. One that moves to another project gets a key there in the same append.
func (c *Commands) UpdateTask(ctx context.Context, r Request, id uuid.UUID, wanted domain.TaskChange) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (creation, error) {
		made, err := c.lookAround(ctx, a, id, around{permission: domain.UpdateTask, project: task.MovesTo(wanted), parent: wanted.ParentID.Value,
			people: newPeople(task.AssigneeIDs, wanted.AssigneeIDs)})
		var now domain.TagsNow
		if err == nil && wanted.TagIDs != nil {
			var onTags []eventstore.Guard
			now, onTags, err = c.lookAtTags(ctx, a, id, *wanted.TagIDs)
			made.guarding = append(made.guarding, onTags...)
		}
		if err != nil {
			return creation{}, err
		}
		made.events, err = task.Change(wanted, now)
		return made, err
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

// around is what a task is to have to do with.
type around struct {
	permission      domain.Permission // that the command needs
	project, parent *uuid.UUID        // nil for none, or the one that it has
	people          []uuid.UUID
}

// lookAround looks up the project, the parent and the people that a task is to have. It gives guards on the parent and on all above
// it, so that no race makes a circle, and one on the project, so that none makes a task in one that was archived or deleted; the
// people are guarded by the roster. A task that comes into a project takes the next number in the stream of its key, whatever that is.
func (c *Commands) lookAround(ctx context.Context, a *attempt, task uuid.UUID, wanted around) (made creation, err error) {
	var projects []projections.Row[domain.Project]
	var above []projections.Ancestor
	var active int
	var asked []pg.Statement
	if wanted.project != nil {
		asked = append(asked, projections.Projects.Load(&projects, a.by, *wanted.project))
	}
	if wanted.parent != nil {
		asked = append(asked, projections.Ancestors(&above, a.by, wanted.parent))
	}
	if len(wanted.people) > 0 {
		asked = append(asked, projections.CountActive(&active, wanted.people))
	}
	if asked == nil {
		return made, nil
	}
	if err := a.look(ctx, asked...); err != nil {
		return made, err
	}
	if active != len(wanted.people) {
		return made, domain.InvalidField("/assignee_ids", "every id must be of a member who is not deactivated")
	}
	if wanted.parent != nil {
		if made.guarding, err = guardAbove(a.by, task, above); err != nil {
			return made, err
		}
	}
	if wanted.project != nil {
		err = enter(&made, a.by, wanted.permission, task, projects)
		return made, err
	}
	return made, nil
}

// enter makes a task one of the project that was found, when the actor may do p there and it takes new tasks.
func enter(made *creation, by projections.Actor, p domain.Permission, task uuid.UUID, found []projections.Row[domain.Project]) error {
	if len(found) == 0 || !found[0].Visible || found[0].Gone {
		return domain.InvalidField("/project_id", "there is no such project")
	}
	if err := allowInto(by, p, found[0]); err != nil {
		return err
	}
	project := found[0].State
	made.guarding = append(made.guarding, eventstore.Guard{Stream: domain.ProjectStream(project.ID), Version: found[0].At})
	made.with = []write{{domain.KeyStream(project.Key), eventstore.Any, domain.NumberTask(task)}}
	return project.NewTasks()
}

// guardAbove gives guards on the parent that was found and on all above it, and on what shows it to the actor.
func guardAbove(by projections.Actor, task uuid.UUID, above []projections.Ancestor) (guards []eventstore.Guard, err error) {
	if len(above) == 0 || !above[0].Visible {
		return nil, domain.InvalidField("/parent_id", "there is no such task")
	}
	if len(above) >= projections.MaxDepth {
		return nil, domain.InvalidField("/parent_id", "is nested too deep: %d tasks are above it", len(above)-1)
	}
	guards = projections.ProjectGuard(by, above[0].ProjectID, above[0].ProjectVersion, domain.ReadTask)
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
