package promises

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "task",
	thing: func(t tester, x *tenant) uuid.UUID {
		x.things["other"], x.things["home"] = x.newTask(t).ID, x.newProject(t).ID
		return x.newTask(t, object{"title": x.private(), "description": x.private(), "project_id": x.things["home"]}).ID
	},
	bodies: map[string]func(x *tenant) object{
		"bulk-tasks": func(x *tenant) object {
			return object{"atomic": true, "operations": []object{
				{"op": "create", "task": object{"title": uuid.NewString(), "project_id": x.things["home"]}},
				{"op": "update", "id": x.things["task"], "task": object{"description": uuid.NewString()}}}}
		},
		"create-task": func(x *tenant) object {
			return object{"title": "t", "description": "d", "status": "open", "priority": "low", "start_on": "2026-01-31", "due_on": "2026-12-31",
				"project_id": x.things["home"], "parent_id": x.things["task"], "assignee_ids": []uuid.UUID{x.things["member"]}, "tag_ids": []uuid.UUID{x.things["tag"]}, "estimate_minutes": 30,
				"external_source": "elsewhere", "external_id": uuid.NewString()}
		},
		"update-task": func(x *tenant) object {
			return object{"title": uuid.NewString(), "description": "d", "status": "open", "priority": "low", "start_on": "2026-01-31", "due_on": "2026-12-31",
				"project_id": x.things["home"], "parent_id": nil, "assignee_ids": []uuid.UUID{x.things["member"]}, "tag_ids": []uuid.UUID{x.things["tag"]}, "estimate_minutes": 30,
				"external_source": nil, "external_id": nil, "after": x.things["other"]}
		},
	},
	rule: judgeTask,
	end:  tasksHold,
	stream: func(e domain.Event, id uuid.UUID) string {
		switch e.(type) {
		case domain.TaskNumbered:
			return domain.KeyStream("WEB")
		case domain.TaskSubtaskAdded:
			return domain.SubtasksStream(id)
		case domain.TaskExternalTaken, domain.TaskExternalFreed:
			return domain.ExternalStream(id)
		}
		return domain.TaskStream(id)
	},
	values: map[string][]string{"status": domain.TaskStatuses, "priority": domain.TaskPriorities, "kind": {"blocks", "blocked_by", "relates"}},
	races: map[string]race{
		"a circle of parents": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"PATCH", taskPath(a), object{"parent_id": b.ID}}, request{"PATCH", taskPath(b), object{"parent_id": a.ID}}
		},
		"a child of what is deleted": func(t tester, x *tenant) (one, other request) {
			a := x.newTask(t)
			return request{"DELETE", taskPath(a), nil}, request{"POST", "/api/tasks", object{"title": "child", "parent_id": a.ID}}
		},
		"a parent that is deleted": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"DELETE", taskPath(a), nil}, request{"PATCH", taskPath(b), object{"parent_id": a.ID}}
		},
		"a circle of relations": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"PUT", taskPath(a, "relations", "blocks", b.ID), nil}, request{"PUT", taskPath(b, "relations", "blocks", a.ID), nil}
		},
		"a relation to what is deleted": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"DELETE", taskPath(a), nil}, request{"PUT", taskPath(b, "relations", "relates", a.ID), nil}
		},
		"a place beside what is deleted": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"DELETE", taskPath(a), nil}, request{"PATCH", taskPath(b), object{"before": a.ID}}
		},
		"an external id twice": func(t tester, x *tenant) (one, other request) {
			named := object{"title": "x", "external_source": "elsewhere", "external_id": uuid.NewString()}
			return request{"POST", "/api/tasks", named}, request{"PATCH", taskPath(x.newTask(t)), named}
		},
		"a parent that moves away": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTask(t), x.newTask(t)
			return request{"PATCH", taskPath(a), object{"project_id": x.newProject(t).ID}}, request{"PATCH", taskPath(b), object{"parent_id": a.ID}}
		},
	},
})

// newTask creates a task with a title of its own.
func (c *client) newTask(t tester, fields ...object) domain.Task {
	t.Helper()
	wanted := object{"title": "Task " + uuid.NewString()}
	for _, f := range fields {
		for name, value := range f {
			wanted[name] = value
		}
	}
	return decode[domain.Task](t, c.call(t, "POST", "/api/tasks", wanted).want(t, 201))
}

func taskPath(task domain.Task, more ...any) string {
	path := "/api/tasks/" + task.ID.String()
	for _, m := range more {
		path += fmt.Sprint("/", m)
	}
	return path
}

type judgedTask struct {
	by                 uuid.UUID
	deleted            bool
	status             string
	parent, project    *uuid.UUID
	unnumbered         bool // it came into a project and has no key there yet
	assignees, viewers []uuid.UUID
	tags               []uuid.UUID
	rank               string
	external           [2]string
	relations          []domain.TaskRelation
}

func judgeTask(o *oracle, f fact) error {
	switch e := f.event.(type) {
	case domain.TaskNumbered:
		return o.number(f, e)
	case domain.TaskSubtaskAdded:
		return o.came(f, e)
	case domain.TaskExternalTaken, domain.TaskExternalFreed:
		return o.pair(f)
	}
	id, actor, tasks := f.id, f.actor, the[uuid.UUID, judgedTask](o)
	k := tasks[id]
	if created, ok := f.event.(domain.TaskCreated); ok {
		tasks[id] = &judgedTask{by: actor, status: created.Status, assignees: created.AssigneeIDs, tags: created.TagIDs,
			rank: fmt.Sprint("as it came, ", f.Position), external: [2]string{text(created.ExternalSource), text(created.ExternalID)}}
		return firstError(o.may(actor, domain.CreateTask, true), when(k != nil, "it is there"), o.people.can(created.AssigneeIDs...), o.tagged(created.TagIDs...), o.put(id, created.ParentID),
			o.enter(id, created.ProjectID), o.mayInto(actor, domain.CreateTask, created.ProjectID))
	}
	if k == nil {
		return fmt.Errorf("there is no such task")
	}
	own := k.by == actor || slices.Contains(k.assignees, actor) || slices.Contains(k.viewers, actor)
	update := firstError(o.may(actor, domain.UpdateTask, own, k.project), when(k.deleted, "it is deleted"))
	switch e := f.event.(type) {
	case domain.TaskUpdated:
		if e.Status != nil {
			k.status = *e.Status
		}
		if e.ParentID.Set {
			update = firstError(update, o.put(id, e.ParentID.Value))
		}
		if e.ProjectID.Set {
			allowed := o.may(actor, domain.UpdateTask, own, k.project) // deleted ones go along with the one above
			update = firstError(allowed, o.mayInto(actor, domain.UpdateTask, e.ProjectID.Value), o.enter(id, e.ProjectID.Value))
		}
		if e.ExternalSource.Set {
			k.external[0] = text(e.ExternalSource.Value)
		}
		if e.ExternalID.Set {
			k.external[1] = text(e.ExternalID.Value)
		}
		return update
	case domain.TaskRelated:
		return o.related(id, e.TaskRelation, update)
	case domain.TaskUnrelated:
		i := slices.Index(k.relations, e.TaskRelation)
		if i < 0 {
			return fmt.Errorf("there is no such relation")
		}
		k.relations = slices.Delete(slices.Clone(k.relations), i, i+1)
		return nil
	case domain.TaskRanked:
		k.rank = e.Rank
		return update
	case domain.TaskCompleted:
		err := firstError(update, when(k.status == "done", "it is done already"))
		k.status = "done"
		return err
	case domain.TaskReopened:
		err := firstError(update, when(k.status != "done", "it is not done"))
		k.status = e.Status
		return err
	case domain.TaskAssigned:
		return firstError(update, o.people.can(e.MemberID), add(&k.assignees, e.MemberID))
	case domain.TaskUnassigned:
		return firstError(update, remove(&k.assignees, e.MemberID))
	case domain.TaskViewerAdded:
		return firstError(update, o.people.can(e.MemberID), add(&k.viewers, e.MemberID))
	case domain.TaskViewerRemoved:
		return firstError(update, remove(&k.viewers, e.MemberID))
	case domain.TaskTagged:
		return firstError(update, o.tagged(e.TagID), add(&k.tags, e.TagID))
	case domain.TaskUntagged:
		return firstError(update, remove(&k.tags, e.TagID))
	case domain.TaskDeleted, domain.TaskRestored:
		_, deleting := e.(domain.TaskDeleted)
		err := firstError(o.may(actor, domain.DeleteTask, own, k.project), when(k.deleted == deleting, "it is so already"))
		k.deleted = deleting
		if d, deleted := e.(domain.TaskDeleted); deleted && d.WithID != nil && !o.below(id, *d.WithID) {
			err = firstError(err, fmt.Errorf("it is not below %s", d.WithID))
		}
		return err
	}
	return errUnknown(f)
}

// put gives a task a parent, which must be there, not deleted, and not below the task.
func (o *oracle) put(id uuid.UUID, parent *uuid.UUID) error {
	the[uuid.UUID, judgedTask](o)[id].parent = parent
	if parent == nil {
		return nil
	}
	if p := the[uuid.UUID, judgedTask](o)[*parent]; p == nil || p.deleted {
		return fmt.Errorf("the parent %s is not there", parent)
	}
	for at, steps := parent, 0; at != nil && steps < 1000; at, steps = the[uuid.UUID, judgedTask](o)[*at].parent, steps+1 {
		if *at == id {
			return fmt.Errorf("a circle of parents")
		}
	}
	return nil
}

// enter brings a task into a project, which must be there and take new tasks, or out of all.
func (o *oracle) enter(id uuid.UUID, project *uuid.UUID) error {
	k := the[uuid.UUID, judgedTask](o)[id]
	if project == nil {
		k.project = nil
		return nil
	}
	same := k.project != nil && *k.project == *project
	k.project, k.unnumbered = project, true
	p := the[uuid.UUID, judgedProject](o)[*project]
	return firstError(when(same, "it is there already"), when(p == nil || p.deleted, "there is no such project"), when(p != nil && p.archived, "the project is archived"))
}

// number says whether a key was right to give: to a task that just came into the project that has the key.
func (o *oracle) number(f fact, e domain.TaskNumbered) error {
	key, _ := strings.CutPrefix(f.Stream, "key-")
	k, project := the[uuid.UUID, judgedTask](o)[e.TaskID], the[string, uuid.UUID](o)[key]
	if k == nil || !k.unnumbered || project == nil || *k.project != *project {
		return fmt.Errorf("no task waits for a key in that project")
	}
	k.unnumbered = false
	return nil
}

func (o *oracle) there(task uuid.UUID) error {
	k := the[uuid.UUID, judgedTask](o)[task]
	return when(k == nil || k.deleted, "its task is not there")
}
