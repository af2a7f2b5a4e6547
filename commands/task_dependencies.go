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
	task   domain.Task // as it is; only its id when it is to be made
	made   *domain.TaskCreated
	change domain.TaskChange // what a task that is to be made has, as a change of nothing
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
func valueAfter[T any](is *T, o domain.Optional[T]) *T {
	if o.Set {
		return o.Value
	}
	return is
}

// parent is the task above it that is to be looked up: when it gets one, or when it moves away from the one that it has.
func (w taskEdit) parent() *uuid.UUID {
	if w.change.ParentID.Set || w.task.Moves(w.change) {
		return valueAfter(w.task.ParentID, w.change.ParentID)
	}
	return nil
}

func (w taskEdit) external() (is, will *domain.External) {
	return domain.ExternalOf(w.task.ExternalSource, w.task.ExternalID),
		domain.ExternalOf(valueAfter(w.task.ExternalSource, w.change.ExternalSource), valueAfter(w.task.ExternalID, w.change.ExternalID))
}

// dependencies are the things that edits refer to besides their tasks, as one read found them.
type dependencies struct {
	by   projections.Actor
	head int64 // of the log, as far as it is in the read models

	tasks      map[uuid.UUID]projections.Row[domain.Task] // that change, and all below those that take these along
	below      int                                        // how many of them came along
	arrivals   map[uuid.UUID]int
	above      map[uuid.UUID]projections.Ancestor
	projects   map[uuid.UUID]projections.Row[domain.Project]
	assignable []uuid.UUID
	tags       domain.TagsNow
	tagged     int // the version of the tags
	externals  map[uuid.UUID]domain.TaskExternal
	places     places
	numbered   map[uuid.UUID]bool // those that came into a project by an edit before
}

// references are the ids that edits name.
type references struct{ parents, movers, projects, people, tagged, tags, externals, anchors []uuid.UUID }

// references gathers what edits name, and begins with the tasks as the edits have them.
func (f *dependencies) references(edits []taskEdit) (n references) {
	many := len(edits) > 1                // what one needs may depend on those before it: it is looked up in any case
	called := map[uuid.UUID]domain.Task{} // what tasks are called elsewhere, edit by edit
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
		if _, will := w.external(); will != nil && (w.change.ExternalSource.Set || w.change.ExternalID.Set) {
			n.externals = append(n.externals, will.Key())
		}
		called[id] = domain.Task{ExternalSource: valueAfter(w.task.ExternalSource, w.change.ExternalSource), ExternalID: valueAfter(w.task.ExternalID, w.change.ExternalID)}
		n.anchors = append(n.anchors, present(w.change.Before, w.change.After)...)
	}
	return n
}

// loadDependencies looks up, in one round trip, the projects, parents, people, tags, external ids and places that tasks are to have.
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
	f.found(below)
	f.above = byID(found.above, func(t projections.Ancestor) (uuid.UUID, projections.Ancestor) { return t.ID, t })
	f.projects = byID(found.projects, func(p projections.Row[domain.Project]) (uuid.UUID, projections.Row[domain.Project]) {
		return p.State.ID, p
	})
	f.tags = tagsNow(found.tags)
	f.externals = byID(found.externals, func(x domain.TaskExternal) (uuid.UUID, domain.TaskExternal) { return x.ID, x })
	f.places = newPlaces(found.anchors)
	return f, nil
}

// subtasks are all tasks below some, as they were looked up.
type subtasks struct {
	rows     []projections.Row[domain.Task]
	arrivals []projections.Arrivals
}

func (s *subtasks) statements(by projections.Actor, of []uuid.UUID) []pg.Statement {
	return projections.Subtasks(&s.rows, &s.arrivals, by, of, domain.MaxSubtasks+1)
}

func (f *dependencies) found(s subtasks) {
	f.below = len(s.rows)
	for _, row := range s.rows {
		f.tasks[row.State.ID] = row
	}
	f.arrivals = byID(s.arrivals, func(n projections.Arrivals) (uuid.UUID, int) { return n.ID, n.Version })
}

// loadSubtasks looks up all tasks below one.
func loadSubtasks(ctx context.Context, a *attempt, task uuid.UUID) (*dependencies, error) {
	var below subtasks
	f := &dependencies{by: a.by, tasks: map[uuid.UUID]projections.Row[domain.Task]{}}
	err := a.read(ctx, below.statements(a.by, []uuid.UUID{task})...)
	f.found(below)
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

// decide decides on one edit, and gives all events that the edit takes, those of the task's own stream first.
func (f *dependencies) decide(w taskEdit) (draft, error) {
	var d draft
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
		if err := f.under(&d, w, *parent, project); err != nil {
			return d, err
		}
	}
	if w.task.Moves(w.change) {
		if err := f.move(&d, w, project); err != nil {
			return d, err
		}
	}
	if err := f.claim(&d, w); err != nil {
		return d, err
	}
	put, err := f.places.put(&d, w, f.by, f.head)
	d.write(stream, f.tasks[w.task.ID].At, put...)
	return d, err
}

// events are those of the task's own stream, but for its place.
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

// under puts a task under another one. It guards that one and all above it, so that no race makes a circle, or leaves the task under
// one that is deleted or elsewhere.
func (f *dependencies) under(d *draft, w taskEdit, parent uuid.UUID, project *uuid.UUID) error {
	above, there := f.above[parent]
	if !there || !above.Visible || above.Gone {
		if !w.change.ParentID.Set { // it stays where it is, and the other is hidden from the caller: nothing is said of it
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
			return domain.InvalidField("/parent_id", "the task is above that one")
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

// move brings a task and all below it into another project, or out of projects. In a project each gets the next number in the stream of
// its key, whatever that is. The project is guarded, so that no race brings a task into one that was archived or deleted.
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
		if f.numbered[t.ID] { // the streams of two keys are in no order among themselves
			return domain.InvalidField("/project_id", "an operation before has brought the task, or one below it, into a project: it moves once a request")
		}
		d.follow(domain.KeyStream(found.State.Key), eventstore.Any, domain.NumberTask(t.ID)...)
	}
	return found.State.NewTasks()
}

// takeAlong gives all tasks below one, in the order in which they were made. The caller must have the permission on each. The list
// of subtasks of each is guarded, so that none is left behind.
func (f *dependencies) takeAlong(d *draft, above uuid.UUID, p domain.Permission) (along []domain.Task, err error) {
	under := map[uuid.UUID][]projections.Row[domain.Task]{}
	for _, row := range f.tasks {
		if row.State.ParentID != nil {
			under[*row.State.ParentID] = append(under[*row.State.ParentID], row)
		}
	}
	if f.below > domain.MaxSubtasks && len(under[above]) > 0 {
		return nil, domain.Refuse(domain.Conflict, "too_many_subtasks", "more than %d tasks would go along: do it for some of those below it first", domain.MaxSubtasks)
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

// claim takes the external source and id that the task is to have, and gives up those that it had: of several that take one pair at
// once, one moves the stream of that pair.
func (f *dependencies) claim(d *draft, w taskEdit) error {
	is, will := w.external()
	if equalPtr(is, will) {
		return nil
	}
	if is != nil {
		d.follow(domain.ExternalStream(is.Key()), eventstore.Any, domain.FreeExternal(w.task.ID)...)
	}
	if will == nil {
		return nil
	}
	pair := f.externals[will.Key()]
	taken, err := pair.Take(w.task.ID)
	d.follow(domain.ExternalStream(will.Key()), pair.Version, taken...)
	return err
}

// present gives those ids that are not nil.
func present(ids ...*uuid.UUID) (given []uuid.UUID) {
	for _, id := range ids {
		if id != nil {
			given = append(given, *id)
		}
	}
	return given
}
