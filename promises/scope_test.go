package promises

import (
	"testing"

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
