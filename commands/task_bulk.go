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

// MaxBulk is how many operations one request has at most.
const MaxBulk = 1000

// TaskOperation makes a task, or changes one.
type TaskOperation struct {
	Create *domain.TaskCreated // nil: Change changes the task ID
	ID     uuid.UUID
	Change domain.TaskChange
}

// TaskOutcome is what became of one operation.
type TaskOutcome struct {
	ID      uuid.UUID // of the task; uuid.Nil when none was made
	Version int       // that the task has then
	Created bool
	Refused *domain.Error // nil: it was done
}

// BulkTasks makes and changes many tasks, each as CreateTask and UpdateTask would, in the order of the operations and in one append.
// An operation sees what those before it did. With atomic, either all are done or none; else each has an outcome of its own. The
// decision looks things up in two round trips, whatever the number of operations.
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
		made := d.made("")
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

// refusalIn is the refusal in an error; what is none stays one.
func refusalIn(err error) (*domain.Error, error) {
	if refusal, is := domain.Refusal(err); is {
		return refusal, nil
	}
	return nil, err
}

// refusals says of all operations that are refused which they are and why; nil when none is.
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
	all := domain.Refuse(domain.Invalid, "operations_refused", "%d of %d operations are refused, so that nothing was done", refused, len(outcomes))
	all.Fields = fields
	return all
}

// apply has later edits of the request see what an earlier one does.
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
	is, will := w.external()
	if equalPtr(is, will) {
		return
	}
	if is != nil {
		f.holds(*is, nil)
	}
	if will != nil {
		f.holds(*will, &w.task.ID)
	}
}

// holds notes who has a pair now. Its version stays the one on which the append is decided.
func (f *dependencies) holds(pair domain.External, task *uuid.UUID) {
	held := f.externals[pair.Key()]
	held.TaskID = task
	f.externals[pair.Key()] = held
}
