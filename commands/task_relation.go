package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// RelateTask adds a relation between a task and another task that the caller sees. A kind with a direction must not make a cycle. All tasks that the
// other task leads to are guarded, so that relations which are added at once make no cycle either.
func (c *Commands) RelateTask(ctx context.Context, r Request, id uuid.UUID, kind string, other uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (decision, error) {
		var ahead []projections.Reached
		beside, err := loadOther(ctx, a, other, &ahead, kind)
		if err != nil {
			return decision{}, err
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
			return decision{}, domain.Refuse(domain.Conflict, "too_many_relations", "the other task leads to more than %d tasks", projections.MaxReached)
		}
		own, others, err := task.Relate(kind, beside.State, circle)
		return decision{events: own, with: []write{{domain.TaskStream(other), beside.At, others}}, guarding: guards}, err
	})
}

// UnrelateTask removes a relation from both its tasks.
func (c *Commands) UnrelateTask(ctx context.Context, r Request, id uuid.UUID, kind string, other uuid.UUID) (Result[domain.Task], error) {
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(a *attempt, task domain.Task) (decision, error) {
		beside, err := loadOther(ctx, a, other, nil, kind)
		if err != nil {
			return decision{}, err
		}
		own, others := task.Unrelate(kind, beside.State)
		return decision{events: own, with: []write{{domain.TaskStream(other), beside.At, others}}, guarding: projections.Tasks.Guards(beside, a.by, domain.ReadTask)}, nil
	})
}

// loadOther reads the other task of a relation, which the caller must see. Unless ahead is nil, it also reads all tasks that the other task leads to.
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
