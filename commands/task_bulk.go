package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// MaxBulk is the largest number of operations in one request.
const MaxBulk = 1000

// TaskOperation creates a task, or changes one.
type TaskOperation struct {
	Create *domain.TaskCreated // nil: the operation makes Change to the task ID
	ID     uuid.UUID
	Change domain.TaskChange
}

// TaskOutcome is the outcome of one operation.
type TaskOutcome struct {
	ID      uuid.UUID // of the task; uuid.Nil when the operation was refused
	Version int       // of the task after the operation
	Created bool
	Refused *domain.Error // nil: the operation was done
}

// BulkTasks creates and changes many tasks, as CreateTask and UpdateTask do, in the order of the operations and in one append. An operation sees the
// effects of earlier ones. With atomic, all operations are done or none; otherwise each has an outcome of its own. The decision needs two round trips,
// whatever the number of operations.
func (c *Commands) BulkTasks(ctx context.Context, r Request, atomic bool, operations []TaskOperation) (Result[[]TaskOutcome], error) {
	ids := make([]uuid.UUID, len(operations))
	for i := range ids {
		if ids[i] = operations[i].ID; operations[i].Create != nil {
			ids[i] = uuid.Must(uuid.NewV7())
		}
	}
	var outcomes []TaskOutcome
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		d, each, err := decideBulk(ctx, a, ids, operations)
		if err != nil {
			return plan{}, err
		}
		outcomes = each
		refused := refusals(outcomes)
		if atomic && refused != nil {
			return plan{}, refused
		}
		answer, err := json.Marshal(outcomes)
		made := d.decision("")
		p := plan{stream: domain.RosterStream, version: a.by.Roster, guarding: made.guarding, partly: refused != nil, answer: string(answer)}
		if len(made.with) > 0 {
			p.stream, p.version, p.events, p.with = made.with[0].stream, made.with[0].version, made.with[0].events, made.with[1:]
		}
		return p, err
	})
	if err == nil && done.repeated {
		err = json.Unmarshal([]byte(done.answer), &outcomes)
	}
	return Result[[]TaskOutcome]{State: outcomes, Position: done.position}, err
}

func decideBulk(ctx context.Context, a *attempt, ids []uuid.UUID, operations []TaskOperation) (d draft, outcomes []TaskOutcome, err error) {
	rows, err := loadTasks(ctx, a, ids)
	if err != nil {
		return d, nil, err
	}
	outcomes = make([]TaskOutcome, len(operations))
	edits := make([]taskEdit, len(operations))
	var wanted []taskEdit
	for i, o := range operations {
		if edits[i], err = o.edit(a.by, ids[i], rows); err != nil {
			if outcomes[i].Refused, err = refusalIn(err); err != nil {
				return d, nil, err
			}
			continue
		}
		wanted = append(wanted, edits[i])
	}
	f, err := loadDependencies(ctx, a, wanted...)
	if err != nil {
		return d, nil, err
	}
	for i, w := range edits {
		if outcomes[i].Refused != nil {
			continue
		}
		w.task = f.tasks[ids[i]].State
		part, err := f.decide(w)
		if err != nil {
			if outcomes[i].Refused, err = refusalIn(err); err != nil {
				return d, nil, err
			}
			continue
		}
		d.add(part)
		if row, there := rows[ids[i]]; there {
			d.rely(projections.Tasks.Guards(row, a.by, domain.UpdateTask)...)
		}
		f.apply(w, part)
		outcomes[i] = TaskOutcome{ID: ids[i], Version: f.tasks[ids[i]].State.Version, Created: w.made != nil}
	}
	return d, outcomes, nil
}

func loadTasks(ctx context.Context, a *attempt, ids []uuid.UUID) (map[uuid.UUID]projections.Row[domain.Task], error) {
	var rows []projections.Row[domain.Task]
	if err := a.read(ctx, projections.Tasks.Load(&rows, a.by, ids...)); err != nil {
		return nil, err
	}
	return byID(rows, func(row projections.Row[domain.Task]) (uuid.UUID, projections.Row[domain.Task]) {
		return row.State.ID, row
	}), nil
}

// edit makes the edit of an operation, and refuses one that the actor may not make.
func (o TaskOperation) edit(by projections.Actor, id uuid.UUID, rows map[uuid.UUID]projections.Row[domain.Task]) (taskEdit, error) {
	if o.Create != nil {
		return newTask(id, *o.Create), allow(by, domain.CreateTask)
	}
	row, there := rows[id]
	if !there || !row.Visible || row.Gone {
		return taskEdit{}, domain.Missing("task")
	}
	return taskEdit{task: row.State, change: o.Change}, allowOn(by, domain.UpdateTask, row.Reach)
}

// refusalIn splits an error into a refusal and any other error.
func refusalIn(err error) (*domain.Error, error) {
	if refusal, is := domain.Refusal(err); is {
		return refusal, nil
	}
	return nil, err
}

// refusals makes one refusal of all refused operations, with a field for each fault; nil when none is refused.
func refusals(outcomes []TaskOutcome) error {
	var fields []domain.Field
	refused := 0
	for i, o := range outcomes {
		if o.Refused == nil {
			continue
		}
		refused++
		at := fmt.Sprintf("/operations/%d", i)
		for _, f := range o.Refused.Fields {
			fields = append(fields, domain.Field{Pointer: at + "/task" + f.Pointer, Detail: f.Detail})
		}
		if len(o.Refused.Fields) == 0 {
			fields = append(fields, domain.Field{Pointer: at, Detail: strings.ReplaceAll(o.Refused.Code, "_", " ") + ": " + o.Refused.Detail})
		}
	}
	if refused == 0 {
		return nil
	}
	all := domain.Refuse(domain.Invalid, "operations_refused", "%d of %d operations are refused, so nothing was done", refused, len(outcomes))
	all.Fields = fields
	return all
}

// apply applies the events of an edit, so that later edits of the request see them.
func (f *dependencies) apply(w taskEdit, part draft) {
	for _, write := range part.writes {
		id, _ := domain.StreamID("task", write.stream)
		row := f.tasks[id]
		for _, e := range write.events {
			row.State.Apply(domain.Record{Stream: write.stream, Version: row.State.Version + 1, At: row.State.UpdatedAt, Actor: f.by.Member, Event: e})
		}
		f.tasks[id] = row
		if above, looked := f.above[id]; looked {
			above.ParentID, above.ProjectID = row.State.ParentID, row.State.ProjectID
			f.above[id] = above
		}
	}
	for _, write := range part.behind {
		for _, e := range write.events {
			if numbered, is := e.(domain.TaskNumbered); is {
				f.numbered[numbered.TaskID] = true
			}
		}
	}
	before, after := w.external()
	if equalPtr(before, after) {
		return
	}
	if before != nil {
		f.setHolder(*before, nil)
	}
	if after != nil {
		f.setHolder(*after, &w.task.ID)
	}
}

// setHolder notes the task that has an external source and id now; nil for none. The version stays the one that the append expects.
func (f *dependencies) setHolder(pair domain.External, task *uuid.UUID) {
	held := f.externals[pair.Key()]
	held.TaskID = task
	f.externals[pair.Key()] = held
}
