package promises

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// tree makes a task with a subtask that has one, too.
func (c *client) tree(t tester, fields object) (top, middle, leaf domain.Task) {
	t.Helper()
	top = c.newTask(t, fields)
	middle = c.newTask(t, fields, object{"parent_id": top.ID})
	return top, middle, c.newTask(t, fields, object{"parent_id": middle.ID})
}

// What is below a task goes with it into the trash and comes back with it; what was deleted before stays deleted.
func TestSubtasksGoAlongIntoTheTrash(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "member") // who may delete what is theirs
	top, middle, leaf := ada.tree(t, object{})
	before := ada.newTask(t, object{"parent_id": middle.ID})
	w := &walk{ada, t, ada.head(t)}
	w.step("DELETE", taskPath(before), nil, 204, 1)
	w.step("DELETE", taskPath(top), nil, 204, 3)
	for _, task := range []domain.Task{top, middle, leaf, before} {
		w.call(t, "GET", taskPath(task), nil).problem(t, 404, "task_not_found")
	}
	if listed := pages[domain.Task](t, ada, "/api/tasks?deleted=true", 2); len(listed) != 4 {
		t.Errorf("%d tasks in the trash", len(listed))
	}
	w.call(t, "POST", taskPath(leaf, "restore"), nil).problem(t, 409, "parent_deleted")
	w.step("POST", taskPath(top, "restore"), nil, 200, 3)
	w.call(t, "GET", taskPath(leaf), nil).want(t, 200)
	w.call(t, "GET", taskPath(before), nil).problem(t, 404, "task_not_found")
	w.step("DELETE", taskPath(middle), nil, 204, 2)
	w.step("DELETE", taskPath(top), nil, 204, 1)
	w.step("POST", taskPath(top, "restore"), nil, 200, 1) // what was deleted by itself is restored by itself
	w.step("POST", taskPath(middle, "restore"), nil, 200, 2)
	// nobody deletes by way of a task of theirs what they may not delete
	mine := bob.newTask(t)
	bob.call(t, "PATCH", taskPath(top), object{"parent_id": mine.ID}).want(t, 200)
	bob.call(t, "DELETE", taskPath(mine), nil).problem(t, 403, "forbidden")
	ada.judge(t)
	ada.noDrift(t)
}

// A task and those above it are in one project: one that moves takes all below it along, each with a number of its own.
func TestSubtasksMoveAlong(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	web, app := ada.newProject(t, object{"key": "WEB"}), ada.newProject(t, object{"key": "APP"})
	top, middle, leaf := ada.tree(t, object{"project_id": web.ID})
	other := ada.newTask(t)
	w := &walk{ada, t, ada.head(t)}
	w.call(t, "POST", "/api/tasks", object{"title": "x", "parent_id": top.ID, "project_id": app.ID}).refusedAs(t, "in another project", 422, "/parent_id")
	w.call(t, "PATCH", taskPath(other), object{"parent_id": top.ID}).refusedAs(t, "in no project", 422, "/parent_id")
	w.call(t, "PATCH", taskPath(middle), object{"project_id": app.ID}).refusedAs(t, "without the one above", 422, "/project_id")
	w.step("DELETE", taskPath(leaf), nil, 204, 1)
	w.step("PATCH", taskPath(top), object{"project_id": app.ID}, 200, 6) // deleted ones go along: they can be restored
	w.step("POST", taskPath(leaf, "restore"), nil, 200, 1)
	for i, task := range []domain.Task{top, middle, leaf} {
		key := fmt.Sprint("APP-", i+1)
		if got := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/"+key, nil).want(t, 200)); got.ID != task.ID || *got.Key != key || *got.ProjectID != app.ID {
			t.Errorf("%s is %+v", key, got)
		}
	}
	w.step("PATCH", taskPath(middle), object{"project_id": nil, "parent_id": nil}, 200, 2)
	w.step("PATCH", taskPath(middle), object{"parent_id": other.ID}, 200, 2)
	w.call(t, "PATCH", taskPath(other), object{"parent_id": leaf.ID}).refusedAs(t, "a circle", 422, "/parent_id")
	ada.judge(t)
	ada.noDrift(t)
}

// A new task that names a parent and no project is in the project of the parent, where the caller may create tasks.
func TestSubtasksInheritTheirProject(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	web := ada.newProject(t, object{"key": "WEB"})
	top, free := ada.newTask(t, object{"project_id": web.ID}), ada.newTask(t)
	child := ada.newTask(t, object{"parent_id": top.ID})
	if child.ProjectID == nil || *child.ProjectID != web.ID || child.Key == nil || *child.Key != "WEB-2" {
		t.Errorf("%+v", child)
	}
	if child := ada.newTask(t, object{"parent_id": free.ID}); child.ProjectID != nil {
		t.Errorf("%+v", child)
	}
	ada.bulk(t, true, []object{creates(object{"title": "one", "parent_id": top.ID}), creates(object{"title": "two", "parent_id": child.ID})}).want(t, 200)
	free = ada.newTask(t)
	ada.bulk(t, true, []object{updates(free, object{"project_id": web.ID}), creates(object{"title": "three", "parent_id": free.ID})}).want(t, 200)
	for key, title := range map[string]string{"WEB-3": "one", "WEB-4": "two", "WEB-5": free.Title, "WEB-6": "three"} {
		if got := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/"+key, nil).want(t, 200)); got.Title != title {
			t.Errorf("%s is %q, want %q", key, got.Title, title)
		}
	}
	ada.call(t, "PATCH", web.path(), object{"status": "archived"}).want(t, 200)
	ada.call(t, "POST", "/api/tasks", object{"title": "late", "parent_id": top.ID}).want(t, 409)
	ada.judge(t)
	ada.noDrift(t)
}

// Whatever comes under a task at the instant at which all below it goes into the trash, or elsewhere, goes along or is refused.
func TestNoSubtaskIsLeftBehind(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	web, app := ada.newProject(t), ada.newProject(t)
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	for round := range rounds {
		top, _, leaf := ada.tree(t, object{"project_id": web.ID})
		beside := ada.newTask(t, object{"project_id": web.ID})
		going := request{"DELETE", taskPath(top), nil}
		if round%2 == 0 {
			going = request{"PATCH", taskPath(top), object{"project_id": app.ID}}
		}
		come := []request{
			{"POST", "/api/tasks", object{"title": "x", "parent_id": leaf.ID, "project_id": web.ID}},
			{"PATCH", taskPath(beside), object{"parent_id": leaf.ID}},
			{"POST", "/api/tasks", object{"title": "y", "parent_id": leaf.ID, "project_id": web.ID}},
		}
		if round%4 >= 2 { // one after the other, on read models that do not know
			come[round/4%3].send(t, ada.on(p[1])).want(t, []int{201, 200, 201}[round/4%3])
		}
		parallel(1+len(come), func(i int) {
			got := append(come, going)[i].send(t, ada.on(p[i%2]))
			gone := i == 1 && round%2 == 1 && got.status == 404 // the one beside had come before, and went into the trash with all
			if got.status/100 != 2 && got.status != 422 && !gone {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	ada.judge(t)
	ada.noDrift(t)
}

// Those who make subtasks of one task at once do not wait for each other.
func TestSubtasksAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	top := ada.newTask(t)
	made := make([]uuid.UUID, 32)
	parallel(len(made), func(i int) {
		made[i] = decode[domain.Task](t, ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": "x", "parent_id": top.ID}).want(t, 201)).ID
	})
	if got := decode[domain.Task](t, ada.call(t, "GET", taskPath(top), nil).want(t, 200)); got.Version != 1 {
		t.Errorf("the one above is at version %d", got.Version)
	}
	ada.judge(t)
	ada.noDrift(t)
}
