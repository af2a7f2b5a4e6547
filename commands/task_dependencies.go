package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// taskEdit is the creation of a task, or a change of one that is there.
type taskEdit struct {
	task   domain.Task         // before the edit; a new task has only its id
	made   *domain.TaskCreated // nil for a change
	change domain.TaskChange   // for a new task: its references, as a change of the empty task
}

// permission is the permission that the edit needs.
func (w taskEdit) permission() domain.Permission {
	if w.made != nil {
		return domain.CreateTask
	}
	return domain.UpdateTask
}

// newTask is the edit that creates a task.
func newTask(id uuid.UUID, wanted domain.TaskCreated) taskEdit {
	wanted.AssigneeIDs, wanted.TagIDs = unique(wanted.AssigneeIDs), unique(wanted.TagIDs)
	w := taskEdit{task: domain.Task{ID: id}, made: &wanted}
	w.change = domain.TaskChange{ProjectID: optionalOf(wanted.ProjectID), ParentID: optionalOf(wanted.ParentID),
		ExternalSource: optionalOf(wanted.ExternalSource), ExternalID: optionalOf(wanted.ExternalID), AssigneeIDs: &wanted.AssigneeIDs}
	if wanted.TagIDs != nil {
		w.change.TagIDs = &wanted.TagIDs
	}
	return w
}

func optionalOf[T any](value *T) domain.Optional[T] {
	return domain.Optional[T]{Set: value != nil, Value: value}
}

// valueAfter is the value of an optional field after a change.
func valueAfter[T any](before *T, o domain.Optional[T]) *T {
	if o.Set {
		return o.Value
	}
	return before
}

// parent gives the parent that the edit must check: a new parent, or the present one of a task that moves to another project; nil for none.
func (w taskEdit) parent() *uuid.UUID {
	if w.change.ParentID.Set || w.task.Moves(w.change) {
		return valueAfter(w.task.ParentID, w.change.ParentID)
	}
	return nil
}

// external gives the external source and id of the task before and after the edit.
func (w taskEdit) external() (before, after *domain.External) {
	return domain.ExternalOf(w.task.ExternalSource, w.task.ExternalID),
		domain.ExternalOf(valueAfter(w.task.ExternalSource, w.change.ExternalSource), valueAfter(w.task.ExternalID, w.change.ExternalID))
}

// dependencies are the things that edits refer to besides their tasks, as one read found them.
type dependencies struct {
	by   projections.Actor
	head int64 // the position of the read models

	tasks      map[uuid.UUID]projections.Row[domain.Task] // the tasks of the edits, and all tasks below those that move
	below      int                                        // how many tasks are below those that move
	arrivals   map[uuid.UUID]int
	above      map[uuid.UUID]projections.Ancestor
	projects   map[uuid.UUID]projections.Row[domain.Project]
	assignable []uuid.UUID
	tags       domain.TagsNow
	tagged     int // the version of the tags
	externals  map[uuid.UUID]domain.TaskExternal
	places     places
	numbered   map[uuid.UUID]bool // the tasks that an earlier edit brought into a project
}

// references are the ids that edits name.
type references struct{ parents, movers, projects, people, tagged, tags, externals, anchors []uuid.UUID }

// references gathers the ids that edits name, and notes the tasks of the edits.
func (f *dependencies) references(edits []taskEdit) (n references) {
	many := len(edits) > 1                // an edit may depend on earlier ones, so its references are looked up in any case
	called := map[uuid.UUID]domain.Task{} // the external sources and ids of tasks, edit by edit
	for _, w := range edits {
		id := w.task.ID
		if _, known := f.tasks[id]; !known {
			f.tasks[id] = projections.Row[domain.Task]{State: w.task, At: w.task.Version, Reach: domain.Reach{Own: true}}
		}
		moves := w.task.Moves(w.change) || many && w.change.ProjectID.Set
		if moves || w.change.ParentID.Set {
			n.parents = append(n.parents, present(w.task.ParentID, w.change.ParentID.Value)...)
		}
		if moves {
			n.projects = append(n.projects, present(w.change.ProjectID.Value)...)
		}
		if w.made == nil && (moves || many && w.change.ParentID.Set) {
			n.movers = append(n.movers, id)
		}
		if w.change.AssigneeIDs != nil {
			n.people = append(n.people, *w.change.AssigneeIDs...)
		}
		if w.change.TagIDs != nil {
			n.tagged, n.tags = append(n.tagged, id), append(n.tags, *w.change.TagIDs...)
		}
		if before, again := called[id]; again {
			w.task.ExternalSource, w.task.ExternalID = before.ExternalSource, before.ExternalID
		}
		if _, after := w.external(); after != nil && (w.change.ExternalSource.Set || w.change.ExternalID.Set) {
			n.externals = append(n.externals, after.Key())
		}
		called[id] = domain.Task{ExternalSource: valueAfter(w.task.ExternalSource, w.change.ExternalSource), ExternalID: valueAfter(w.task.ExternalID, w.change.ExternalID)}
		n.anchors = append(n.anchors, present(w.change.Before, w.change.After)...)
	}
	return n
}

// inherits tells whether the edit creates a task that gets its project from its parent.
func (w taskEdit) inherits() bool {
	return w.made != nil && w.made.ParentID != nil && w.made.ProjectID == nil
}

// inherit gives the edit the project of its parent, as earlier edits left it, when the caller sees the parent.
func (f *dependencies) inherit(w taskEdit) taskEdit {
	if !w.inherits() || !f.above[*w.made.ParentID].Visible {
		return w
	}
	made := *w.made
	made.ProjectID = f.above[*w.made.ParentID].ProjectID
	w.made, w.change.ProjectID = &made, optionalOf(made.ProjectID)
	return w
}

// loadDependencies looks up everything that edits refer to, in one round trip; in two where new tasks inherit their project.
func loadDependencies(ctx context.Context, a *attempt, edits ...taskEdit) (*dependencies, error) {
	f := &dependencies{by: a.by, tasks: map[uuid.UUID]projections.Row[domain.Task]{}, numbered: map[uuid.UUID]bool{}}
	n := f.references(edits)
	var below subtasks
	var found struct {
		above     []projections.Ancestor
		projects  []projections.Row[domain.Project]
		tags      []projections.TagNow
		externals []domain.TaskExternal
		anchors   []projections.Anchor
	}
	if slices.ContainsFunc(edits, taskEdit.inherits) {
		if err := a.read(ctx, projections.Ancestors(&found.above, a.by, n.parents)); err != nil {
			return nil, err
		}
		n.parents = nil // they are found
		for _, t := range found.above {
			n.projects = append(n.projects, present(t.ProjectID)...)
		}
	}
	var asked []pg.Statement
	ask := func(ids []uuid.UUID, statements ...pg.Statement) {
		if len(ids) > 0 {
			asked = append(asked, statements...)
		}
	}
	ask(n.movers, below.statements(a.by, n.movers)...)
	ask(n.parents, projections.Ancestors(&found.above, a.by, n.parents))
	ask(n.projects, projections.Projects.Load(&found.projects, a.by, unique(n.projects)...))
	ask(n.people, projections.Assignable(&f.assignable, a.by, n.people))
	ask(n.tagged, projections.FindTags(&found.tags, &f.tagged, a.by, n.tagged, n.tags)...)
	ask(n.externals, projections.FindExternals(&found.externals, n.externals))
	ask(n.anchors, projections.Anchors(&found.anchors, a.by, n.anchors))
	if asked != nil {
		if err := a.read(ctx, asked...); err != nil {
			return nil, err
		}
	}
	if a.mark != nil {
		f.head = a.mark.Position
	}
	f.addSubtasks(below)
	f.above = byID(found.above, func(t projections.Ancestor) (uuid.UUID, projections.Ancestor) { return t.ID, t })
	f.projects = byID(found.projects, func(p projections.Row[domain.Project]) (uuid.UUID, projections.Row[domain.Project]) {
		return p.State.ID, p
	})
	f.tags = tagsNow(found.tags)
	f.externals = byID(found.externals, func(x domain.TaskExternal) (uuid.UUID, domain.TaskExternal) { return x.ID, x })
	f.places = newPlaces(found.anchors)
	return f, nil
}

// subtasks is what a look-up of all tasks below some tasks finds.
type subtasks struct {
	rows     []projections.Row[domain.Task]
	arrivals []projections.Arrivals
}

func (s *subtasks) statements(by projections.Actor, of []uuid.UUID) []pg.Statement {
	return projections.Subtasks(&s.rows, &s.arrivals, by, of, domain.MaxSubtasks+1)
}

func (f *dependencies) addSubtasks(s subtasks) {
	f.below = len(s.rows)
	for _, row := range s.rows {
		f.tasks[row.State.ID] = row
	}
	f.arrivals = byID(s.arrivals, func(n projections.Arrivals) (uuid.UUID, int) { return n.ID, n.Version })
}

// loadSubtasks looks up all tasks below a task.
func loadSubtasks(ctx context.Context, a *attempt, task uuid.UUID) (*dependencies, error) {
	var below subtasks
	f := &dependencies{by: a.by, tasks: map[uuid.UUID]projections.Row[domain.Task]{}}
	err := a.read(ctx, below.statements(a.by, []uuid.UUID{task})...)
	f.addSubtasks(below)
	return f, err
}

func byID[T, V any](rows []T, entry func(T) (uuid.UUID, V)) map[uuid.UUID]V {
	m := make(map[uuid.UUID]V, len(rows))
	for _, row := range rows {
		id, value := entry(row)
		m[id] = value
	}
	return m
}

// decide decides on one edit, and gives all its events, those of the task's own stream first.
func (f *dependencies) decide(w taskEdit) (draft, error) {
	var d draft
	w = f.inherit(w)
	events, err := f.events(w)
	if err != nil {
		return d, err
	}
	stream := domain.TaskStream(w.task.ID)
	d.write(stream, f.tasks[w.task.ID].At, events...)
	if w.change.TagIDs != nil {
		d.guard(domain.TagsStream, f.tagged)
	}
	project := valueAfter(w.task.ProjectID, w.change.ProjectID)
	if parent := w.parent(); parent != nil {
		if err := f.putUnder(&d, w, *parent, project); err != nil {
			return d, err
		}
	}
	if w.task.Moves(w.change) {
		if err := f.move(&d, w, project); err != nil {
			return d, err
		}
	}
	if err := f.claimExternal(&d, w); err != nil {
		return d, err
	}
	put, err := f.places.put(&d, w, f.by, f.head)
	d.write(stream, f.tasks[w.task.ID].At, put...)
	return d, err
}

// events gives the events of the task's own stream, without those of its place in the order.
func (f *dependencies) events(w taskEdit) ([]domain.Event, error) {
	for _, id := range newPeople(w.task.AssigneeIDs, w.change.AssigneeIDs) {
		if !slices.Contains(f.assignable, id) {
			return nil, domain.InvalidField("/assignee_ids", "every id must be of a member whom you may see and who is not deactivated")
		}
	}
	if w.change.TagIDs != nil && slices.ContainsFunc(*w.change.TagIDs, func(id uuid.UUID) bool { return !f.tags.There(id) }) {
		return nil, domain.InvalidField("/tag_ids", "every id must be of a tag that is there")
	}
	if w.made != nil {
		return domain.NewTask(*w.made)
	}
	return w.task.Change(w.change, f.tags)
}

// putUnder puts a task under a parent. It guards the parent and all tasks above it, so that no race makes a cycle, or leaves the task under a parent that is
// deleted or in another project.
func (f *dependencies) putUnder(d *draft, w taskEdit, parent uuid.UUID, project *uuid.UUID) error {
	above, there := f.above[parent]
	if !there || !above.Visible || above.Gone {
		if !w.change.ParentID.Set { // the caller does not see the parent, so the refusal does not name it
			return domain.InvalidField("/project_id", "the task is under another one, and stays in the project of that one")
		}
		return domain.InvalidField("/parent_id", "there is no such task")
	}
	if !equalPtr(above.ProjectID, project) {
		if !w.change.ParentID.Set {
			return domain.InvalidField("/project_id", "the task is under another one, and stays in the project of that one")
		}
		return domain.InvalidField("/parent_id", "must be a task of the same project")
	}
	depth := 0
	for at := &parent; at != nil; at = f.above[*at].ParentID {
		if *at == w.task.ID {
			return domain.InvalidField("/parent_id", "must not be the task itself, or a task below it")
		}
		if depth++; depth >= projections.MaxDepth {
			return domain.InvalidField("/parent_id", "is nested too deep: %d tasks are above it", depth)
		}
		d.guard(domain.TaskStream(*at), f.above[*at].Version)
	}
	if above.ProjectID != nil {
		d.rely(projections.ProjectGuard(f.by, *above.ProjectID, above.ProjectVersion, domain.ReadTask)...)
	}
	if w.task.ParentID == nil || *w.task.ParentID != parent {
		d.follow(domain.SubtasksStream(parent), eventstore.Any, domain.TaskSubtaskAdded{TaskID: w.task.ID})
	}
	return nil
}

// move moves a task and all tasks below it into another project, or out of any project. In a project each gets the next number in the stream of the
// project's key, whatever the version of that stream. The project is guarded, so that no race brings a task into an archived or deleted project.
func (f *dependencies) move(d *draft, w taskEdit, project *uuid.UUID) error {
	along, err := f.takeAlong(d, w.task.ID, domain.UpdateTask)
	if err != nil {
		return err
	}
	for _, t := range along {
		d.write(domain.TaskStream(t.ID), t.Version, t.Move(project)...)
	}
	if project == nil {
		return nil
	}
	found, there := f.projects[*project]
	if !there || !found.Visible || found.Gone {
		return domain.InvalidField("/project_id", "there is no such project")
	}
	if err := allowInto(f.by, w.permission(), found); err != nil {
		return err
	}
	d.guard(domain.ProjectStream(*project), found.At)
	for _, t := range append([]domain.Task{w.task}, along...) {
		if f.numbered[t.ID] { // one append has no order between the streams of two keys
			return domain.InvalidField("/project_id", "an earlier operation moved the task, or a task below it, into a project: a task moves once in a request")
		}
		d.follow(domain.KeyStream(found.State.Key), eventstore.Any, domain.NumberTask(t.ID)...)
	}
	return found.State.NewTasks()
}

// takeAlong gives all tasks below a task, in the order in which they were created. The caller must have the permission on each. The list of subtasks of
// each is guarded, so that no new subtask is left behind.
func (f *dependencies) takeAlong(d *draft, above uuid.UUID, p domain.Permission) (along []domain.Task, err error) {
	under := map[uuid.UUID][]projections.Row[domain.Task]{}
	for _, row := range f.tasks {
		if row.State.ParentID != nil {
			under[*row.State.ParentID] = append(under[*row.State.ParentID], row)
		}
	}
	if f.below > domain.MaxSubtasks && len(under[above]) > 0 {
		return nil, domain.Refuse(domain.Conflict, "too_many_subtasks", "the task has more than %d tasks below it: begin with some of these", domain.MaxSubtasks)
	}
	guard := func(id uuid.UUID) {
		if version, looked := f.arrivals[id]; looked {
			d.guard(domain.SubtasksStream(id), version)
		}
	}
	guard(above)
	for next := under[above]; len(next) > 0; {
		row := next[0]
		next = append(next[1:], under[row.State.ID]...)
		if err := allowOn(f.by, p, row.Reach); err != nil {
			return nil, err
		}
		d.rely(projections.Tasks.Guards(row, f.by, p)...)
		guard(row.State.ID)
		along = append(along, row.State)
	}
	slices.SortFunc(along, func(a, b domain.Task) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return along, nil
}

// claimExternal frees the external source and id that the task had, and claims those that it gets. Of several commands that claim the same pair, one moves
// the stream of the pair.
func (f *dependencies) claimExternal(d *draft, w taskEdit) error {
	before, after := w.external()
	if equalPtr(before, after) {
		return nil
	}
	if before != nil {
		d.follow(domain.ExternalStream(before.Key()), eventstore.Any, domain.FreeExternal(w.task.ID)...)
	}
	if after == nil {
		return nil
	}
	pair := f.externals[after.Key()]
	claimed, err := pair.Take(w.task.ID)
	d.follow(domain.ExternalStream(after.Key()), pair.Version, claimed...)
	return err
}

// present gives the ids that are not nil.
func present(ids ...*uuid.UUID) (given []uuid.UUID) {
	for _, id := range ids {
		if id != nil {
			given = append(given, *id)
		}
	}
	return given
}
