package promises

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Scope project begins and ends with being a member of the project: for what one reads, changes and brings in, at once and whatever
// the read models know.
func TestScopeProject(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	web, app := ada.newProject(t), ada.newProject(t)
	inWeb := ada.newTask(t, object{"project_id": web.ID})
	inApp, alone := ada.newTask(t, object{"project_id": app.ID}), ada.newTask(t)
	bob := ada.member(t, "manager").on(p[1])
	script, _ := bob.newToken(t, over(domain.InProject, domain.ReadProject, domain.ReadTask, domain.CreateTask, domain.UpdateTask, domain.ReadComment, domain.CreateComment)...)
	blind, _ := bob.newToken(t, append(over(domain.InProject, domain.CreateTask, domain.UpdateTask), domain.Grant{Resource: "task", Action: "read", Scope: domain.All},
		domain.Grant{Resource: "project", Action: "read", Scope: domain.All})...)

	script.call(t, "GET", taskPath(inWeb), nil).problem(t, 404, "task_not_found")
	ada.call(t, "PUT", web.path("members", bob.id), nil).want(t, 204)
	script.call(t, "PATCH", taskPath(inWeb), object{"title": "by a member of its project"}).want(t, 200)
	script.call(t, "POST", taskPath(inWeb, "comments"), object{"body": "x"}).want(t, 201)
	if shown := pages[domain.Task](t, script, "/api/tasks", 1); len(shown) != 1 || shown[0].ID != inWeb.ID {
		t.Errorf("shown are %+v", shown)
	}
	if shown := pages[domain.Project](t, script, "/api/projects", 1); len(shown) != 1 || shown[0].ID != web.ID {
		t.Errorf("shown are %+v", shown)
	}
	for _, other := range []domain.Task{inApp, alone} {
		script.call(t, "PATCH", taskPath(other), object{"title": "x"}).problem(t, 404, "task_not_found")
		blind.call(t, "PATCH", taskPath(other), object{"title": "x"}).problem(t, 403, "forbidden")
	}

	// Into a project: one's own, and no other, seen or not.
	made := script.newTask(t, object{"project_id": web.ID})
	free := script.newTask(t)
	script.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": app.ID}).refusedAs(t, "not seen", 422, "/project_id")
	script.call(t, "PATCH", taskPath(free), object{"project_id": app.ID}).refusedAs(t, "not seen", 422, "/project_id")
	blind.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": app.ID}).problem(t, 403, "forbidden")
	blind.call(t, "PATCH", taskPath(made), object{"project_id": app.ID}).problem(t, 403, "forbidden")
	blind.call(t, "PATCH", taskPath(free), object{"project_id": web.ID}).want(t, 200)
	above := script.newTask(t)
	script.bulk(t, true, []object{updates(above, object{"project_id": web.ID}), creates(object{"title": "below", "parent_id": above.ID}), updates(made, object{"parent_id": above.ID})}).want(t, 200)
	only, _ := bob.newToken(t, domain.Grant{Resource: "task", Action: "create", Scope: domain.Own}, domain.Grant{Resource: "project", Action: "read", Scope: domain.All})
	only.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": app.ID}).problem(t, 403, "forbidden") // no further than scope project

	// Whoever is a member no longer reaches nothing, although nobody has folded that: what is one's own stays.
	for _, late := range []request{{"PATCH", taskPath(inWeb), object{"title": "late"}}, {"POST", taskPath(inWeb, "comments"), object{"body": "late"}},
		{"POST", "/api/tasks", object{"title": "late", "project_id": web.ID}}, {"POST", "/api/tasks", object{"title": "late", "parent_id": inWeb.ID}}} {
		ada.call(t, "PUT", web.path("members", bob.id), nil).want(t, 204)
		script.call(t, "GET", taskPath(inWeb), nil).want(t, 200) // fresh until here
		ada.call(t, "DELETE", web.path("members", bob.id), nil).want(t, 204)
		if a := late.send(t, script); a.status/100 == 2 {
			t.Errorf("%s: %d after the member had left the project", a.what, a.status)
		}
	}
	script.call(t, "PATCH", taskPath(made), object{"title": "my own"}).want(t, 200)
	ada.judge(t)
	ada.noDrift(t)
}

// Whoever may not see a thing cannot name it in a command either, wherever an id may stand: it is answered as if there were no such thing. What is at
// one's own things already stays, and can be taken off them.
func TestTheHiddenIsAsIfItWereNotThere(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob, cyd := ada.member(t, "manager"), ada.member(t, "member")
	narrow, _ := bob.newToken(t, over(domain.Own, domain.ReadMember, domain.ReadProject, domain.UpdateProject, domain.ReadTask, domain.CreateTask, domain.UpdateTask, domain.ReadComment,
		domain.CreateComment, domain.ReadTag, domain.DeleteTag, domain.ReadTimeEntry, domain.CreateTimeEntry)...)
	mine, project, own := bob.newTask(t), bob.newProject(t), bob.newTag(t, "own")
	task, elsewhere, tag := ada.newTask(t), ada.newProject(t), ada.newTag(t, "hidden")
	said := ada.comment(t, task, object{"body": "hidden"})
	head := ada.head(t)
	ids := func(id uuid.UUID) []uuid.UUID { return []uuid.UUID{id} }
	for what, c := range map[string]struct {
		hidden uuid.UUID
		ask    func(id uuid.UUID) request
	}{
		"an assignee of a new task": {cyd.id, func(id uuid.UUID) request {
			return request{"POST", "/api/tasks", object{"title": "x", "assignee_ids": ids(id)}}
		}},
		"a tag of a new task": {tag.ID, func(id uuid.UUID) request {
			return request{"POST", "/api/tasks", object{"title": "x", "tag_ids": ids(id)}}
		}},
		"a parent of a new task": {task.ID, func(id uuid.UUID) request {
			return request{"POST", "/api/tasks", object{"title": "x", "parent_id": id}}
		}},
		"a project of a new task": {elsewhere.ID, func(id uuid.UUID) request {
			return request{"POST", "/api/tasks", object{"title": "x", "project_id": id}}
		}},
		"assignees":               {cyd.id, func(id uuid.UUID) request { return request{"PATCH", taskPath(mine), object{"assignee_ids": ids(id)}} }},
		"tags":                    {tag.ID, func(id uuid.UUID) request { return request{"PATCH", taskPath(mine), object{"tag_ids": ids(id)}} }},
		"a parent":                {task.ID, func(id uuid.UUID) request { return request{"PATCH", taskPath(mine), object{"parent_id": id}} }},
		"a project":               {elsewhere.ID, func(id uuid.UUID) request { return request{"PATCH", taskPath(mine), object{"project_id": id}} }},
		"a place":                 {task.ID, func(id uuid.UUID) request { return request{"PATCH", taskPath(mine), object{"after": id}} }},
		"an assignee":             {cyd.id, func(id uuid.UUID) request { return request{"PUT", taskPath(mine, "assignees", id), nil} }},
		"an assignee to take off": {cyd.id, func(id uuid.UUID) request { return request{"DELETE", taskPath(mine, "assignees", id), nil} }},
		"a viewer":                {cyd.id, func(id uuid.UUID) request { return request{"PUT", taskPath(mine, "viewers", id), nil} }},
		"a viewer to take off":    {cyd.id, func(id uuid.UUID) request { return request{"DELETE", taskPath(mine, "viewers", id), nil} }},
		"a tag":                   {tag.ID, func(id uuid.UUID) request { return request{"PUT", taskPath(mine, "tags", id), nil} }},
		"a tag to take off":       {tag.ID, func(id uuid.UUID) request { return request{"DELETE", taskPath(mine, "tags", id), nil} }},
		"a tag to merge into":     {tag.ID, func(id uuid.UUID) request { return request{"POST", tagPath(own) + "/merge", object{"into": id}} }},
		"a related task":          {task.ID, func(id uuid.UUID) request { return request{"PUT", taskPath(mine, "relations", "blocks", id), nil} }},
		"a comment to answer": {said.ID, func(id uuid.UUID) request {
			return request{"POST", taskPath(mine, "comments"), object{"body": "x", "parent_id": id}}
		}},
		"a lead":             {cyd.id, func(id uuid.UUID) request { return request{"PATCH", project.path(), object{"lead_id": id}} }},
		"a project's member": {cyd.id, func(id uuid.UUID) request { return request{"PUT", project.path("members", id), nil} }},
		"one to take off":    {cyd.id, func(id uuid.UUID) request { return request{"DELETE", project.path("members", id), nil} }},
		"whose time": {cyd.id, func(id uuid.UUID) request {
			return request{"POST", "/api/time-entries", object{"member_id": id, "start": someHour(), "minutes": 1}}
		}},
		"the task of time": {task.ID, func(id uuid.UUID) request {
			return request{"POST", "/api/time-entries", object{"task_id": id, "start": someHour(), "minutes": 1}}
		}},
		"the project of time": {elsewhere.ID, func(id uuid.UUID) request {
			return request{"POST", "/api/time-entries", object{"project_id": id, "start": someHour(), "minutes": 1}}
		}},
		"what is to be changed": {task.ID, func(id uuid.UUID) request { return request{"PATCH", "/api/tasks/" + id.String(), object{"title": "x"}} }},
	} {
		seen, absent := c.ask(c.hidden).send(t, narrow), c.ask(uuid.New()).send(t, narrow)
		a, b := decode[problem](t, seen), decode[problem](t, absent)
		if a.RequestID, b.RequestID = "", ""; seen.status != absent.status || seen.status/100 != 4 || !cmp.Equal(a, b) {
			t.Errorf("%s: %d %s\nand of what is not there: %d %s", what, seen.status, seen.body, absent.status, absent.body)
		}
	}
	if at := ada.head(t); at != head {
		t.Errorf("the log went from %d to %d", head, at)
	}
	if c := narrow.comment(t, mine, object{"body": "for @" + cyd.id.String()}); len(c.MentionIDs) > 0 {
		t.Errorf("mentioned: %v", c.MentionIDs)
	}

	ada.call(t, "PATCH", taskPath(mine), object{"assignee_ids": ids(cyd.id), "tag_ids": ids(tag.ID)}).want(t, 200)
	narrow.call(t, "PATCH", taskPath(mine), object{"assignee_ids": []uuid.UUID{cyd.id, bob.id}, "tag_ids": []uuid.UUID{tag.ID, own.ID}}).want(t, 200)
	narrow.call(t, "DELETE", taskPath(mine, "assignees", cyd.id), nil).want(t, 204)
	narrow.call(t, "DELETE", taskPath(mine, "tags", tag.ID), nil).want(t, 204)
	blind, _ := bob.newToken(t, over(domain.All, domain.ReadTask, domain.UpdateTask)...)
	blind.call(t, "PUT", taskPath(task, "assignees", bob.id), nil).want(t, 204) // everybody knows of oneself
	if now := decode[domain.Task](t, ada.call(t, "GET", taskPath(mine), nil).want(t, 200)); !slices.Equal(now.AssigneeIDs, ids(bob.id)) || !slices.Equal(now.TagIDs, ids(own.ID)) {
		t.Errorf("assigned to %v, tagged %v", now.AssigneeIDs, now.TagIDs)
	}
}
