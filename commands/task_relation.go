package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// RelateTask gives a task, and another one that the caller sees, a relation. A kind with a direction makes no circle: all tasks that the
// other one leads to are guarded, so that none of several relations that come at once closes one.
func (c *Commands) RelateTask(ctx context.Context, r Request, id uuid.UUID, kind string, other uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (creation, error) {
		var ahead []projections.Reached
		beside, err := loadOther(ctx, a, other, &ahead, kind)
		if err != nil {
			return creation{}, err
		}
		circle := false
		guards := projections.Tasks.Guards(beside, a.by, domain.ReadTask)
		if domain.Directed(kind) {
			for _, t := range ahead {
				circle = circle || t.ID == id
				guards = append(guards, eventstore.Guard{Stream: domain.TaskStream(t.ID), Version: t.Version})
			}
		}
		if len(ahead) > projections.MaxReached {
			return creation{}, domain.Refuse(domain.Conflict, "too_many_relations", "the other task leads to more than %d tasks", projections.MaxReached)
		}
		own, others, err := task.Relate(kind, beside.State, circle)
		return creation{events: own, with: []write{{domain.TaskStream(other), beside.At, others}}, guarding: guards}, err
	})
}

// UnrelateTask takes a relation off a task and the other one.
func (c *Commands) UnrelateTask(ctx context.Context, r Request, id uuid.UUID, kind string, other uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (creation, error) {
		beside, err := loadOther(ctx, a, other, nil, kind)
		if err != nil {
			return creation{}, err
		}
		own, others := task.Unrelate(kind, beside.State)
		return creation{events: own, with: []write{{domain.TaskStream(other), beside.At, others}}, guarding: projections.Tasks.Guards(beside, a.by, domain.ReadTask)}, nil
	})
}

// loadOther reads the other end of a relation, which must be there and be seen, and all that it leads to when these are asked for.
func loadOther(ctx context.Context, a *attempt, other uuid.UUID, ahead *[]projections.Reached, kind string) (projections.Row[domain.Task], error) {
	var also []pg.Statement
	if ahead != nil {
		also = append(also, projections.Reachable(ahead, kind, other))
	}
	row, err := load(ctx, a, projections.Tasks, other, also...)
	if err == nil && row.Gone {
		err = domain.Missing("task")
	}
	return row, err
}
