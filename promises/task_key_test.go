package promises

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// 64 tasks created at once in one project, over two processes, have the numbers 1 to 64, in the order of the log.
func TestNumbersHaveNoGaps(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	web := ada.newProject(t, object{"key": "WEB"})
	made := make([]domain.Task, 64)
	parallel(len(made), func(i int) {
		made[i] = decode[domain.Task](t, ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": fmt.Sprint(i), "project_id": web.ID}))
	})
	slices.SortFunc(made, func(a, b domain.Task) int { return int(a.Position - b.Position) })
	for i, task := range made {
		key := fmt.Sprint("WEB-", i+1)
		if task.Key == nil || *task.Key != key {
			t.Fatalf("the task at %d has the key %v, not %s", task.Position, task.Key, key)
		}
		if diff := cmp.Diff(task, decode[domain.Task](t, ada.on(p[i%2]).call(t, "GET", "/api/tasks/"+strings.ToLower(key), nil).want(t, 200))); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}

// A task that moves gets a new key, answers to the old one as well, and has its key of then in its history.
func TestTasksMoveBetweenProjects(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	web, app := ada.newProject(t, object{"key": "WEB"}), ada.newProject(t, object{"key": "APP"})
	key := func(k domain.Task) string {
		if k.Key == nil {
			return ""
		}
		return *k.Key
	}
	first := ada.newTask(t, object{"project_id": web.ID})
	at := taskPath(first)
	w := &walk{ada, t, ada.head(t)}
	states := []domain.Task{first}
	for i, move := range []struct {
		project any
		key     string
		events  int
	}{{app.ID, "APP-1", 2}, {app.ID, "APP-1", 0}, {nil, "", 1}, {web.ID, "WEB-2", 2}} {
		time.Sleep(2 * time.Millisecond)
		a := w.step("PATCH", at, object{"project_id": move.project}, 200, move.events)
		k := decode[domain.Task](t, a)
		w.task(a, k.Version, func(k domain.Task) bool { return key(k) == move.key })
		if move.events > 0 {
			states = append(states, k)
		}
		if i == 0 && k.Version != 2 {
			t.Errorf("the key counts as a version: %d", k.Version)
		}
	}
	for _, k := range []string{"WEB-1", "APP-1", "WEB-2"} {
		got := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/"+k, nil).want(t, 200))
		if got.ID != first.ID || key(got) != "WEB-2" {
			t.Errorf("%s is %+v", k, got)
		}
		if found := ids(t, ada.call(t, "GET", "/api/tasks?q="+k, nil).want(t, 200)); len(found) != 1 || found[0] != first.ID.String() {
			t.Errorf("%s finds %v", k, found)
		}
	}
	for _, k := range []string{"WEB-3", "APP-2", "none-1"} {
		ada.call(t, "GET", "/api/tasks/"+k, nil).problem(t, 404, "task_not_found")
	}
	for _, bad := range []string{"WEB-0", "WEB-01", "web_1", "WEB", "WEB-", "WEB-1000000000", "W-1"} {
		ada.call(t, "GET", "/api/tasks/"+bad, nil).want(t, 422)
	}
	for _, k := range states {
		got := decode[domain.Task](t, ada.call(t, "GET", at+"?as_of="+url.QueryEscape(k.UpdatedAt.Format(time.RFC3339Nano)), nil).want(t, 200))
		if diff := cmp.Diff(k, got); diff != "" {
			t.Errorf("as of version %d: %s", k.Version, diff)
		}
	}
	var keys []string
	for _, line := range ada.story(t, "/api/tasks/WEB-1") {
		if line.Field != nil && *line.Field == "key" {
			keys = append(keys, string(line.New))
		}
	}
	if fmt.Sprint(keys) != `["WEB-1" null "APP-1" null "WEB-2"]` && fmt.Sprint(keys) != `["WEB-1" null "APP-1" null null "WEB-2"]` {
		t.Errorf("%v", keys)
	}
	// every path of a task takes a key, and a key shows no more than an id does
	ada.call(t, "POST", "/api/tasks/WEB-1/comments", object{"body": "x"}).want(t, 201)
	ada.call(t, "POST", "/api/tasks/APP-1/complete", nil).want(t, 200)
	second := ada.newTask(t, object{"project_id": web.ID})
	ada.call(t, "PUT", "/api/tasks/web-1/relations/blocks/WEB-3", nil).want(t, 204)
	if related := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/WEB-1", nil).want(t, 200)).Relations; len(related) != 1 || related[0].TaskID != second.ID {
		t.Errorf("related by key: %+v", related)
	}
	ada.call(t, "PUT", taskPath(first, "relations/blocks/WEB-9"), nil).problem(t, 404, "task_not_found")
	ada.call(t, "DELETE", taskPath(first, "relations/blocks/WEB-3"), nil).want(t, 204)
	ada.call(t, "PATCH", taskPath(second), object{"project_id": nil}).want(t, 200)
	again := ada.call(t, "POST", "/api/tasks/APP-1/reopen", nil, "Idempotency-Key: k").want(t, 200)
	if b := ada.call(t, "POST", "/api/tasks/APP-1/reopen", nil, "Idempotency-Key: k"); b.essence() != again.essence() {
		t.Errorf("again: %s, not %s", b.essence(), again.essence())
	}
	eve := ada.member(t, "viewer")
	if hidden, unknown := eve.call(t, "GET", "/api/tasks/WEB-2", nil), eve.call(t, "GET", "/api/tasks/NONE-1", nil); hidden.sameBytes(t) != unknown.sameBytes(t) {
		t.Errorf("a viewer sees %s instead of %s", hidden.body, unknown.body)
	}
	if found := ids(t, eve.call(t, "GET", "/api/tasks?q=WEB-2", nil).want(t, 200)); len(found) != 0 {
		t.Errorf("a viewer finds %v", found)
	}
	ada.call(t, "DELETE", "/api/tasks/WEB-2", nil).want(t, 204)
	ada.call(t, "GET", "/api/tasks/WEB-2", nil).problem(t, 404, "task_not_found")
	ada.call(t, "DELETE", web.path(), nil).problem(t, 409, "project_has_tasks") // it can be restored
	ada.call(t, "POST", "/api/tasks/WEB-2/restore", nil).want(t, 200)
	if listed := pages[domain.Task](t, ada, "/api/tasks?project_id="+web.ID.String(), 1); len(listed) != 1 || listed[0].ID != first.ID {
		t.Errorf("listed %+v", listed)
	}
	ada.call(t, "DELETE", app.path(), nil).want(t, 204)
	ada.call(t, "GET", "/api/tasks/APP-1", nil).want(t, 200)
	for _, none := range []any{app.ID, uuid.New()} {
		ada.call(t, "PATCH", at, object{"project_id": none}).refusedAs(t, "no project", 422, "/project_id")
		ada.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": none}).refusedAs(t, "no project", 422, "/project_id")
	}
	ada.judge(t)
	ada.noDrift(t)
}

// The same key creates one task with one number, and the answer says which.
func TestANumberIsGivenOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	web := ada.newProject(t, object{"key": "WEB"})
	answers := make([]reply, 8)
	parallel(len(answers), func(i int) {
		answers[i] = ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": "once", "project_id": web.ID}, "Idempotency-Key: once")
	})
	for i := range answers {
		a := ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": "once", "project_id": web.ID}, "Idempotency-Key: once").want(t, 201)
		if k := decode[domain.Task](t, a); k.Key == nil || *k.Key != "WEB-1" {
			t.Errorf("answered %s", a.body)
		}
		if answers[i].status == 201 && answers[i].essence() != a.essence() {
			t.Errorf("answered %s and later %s", answers[i].essence(), a.essence())
		}
	}
	ada.judge(t)
}

// No race puts a task into a project that was archived or deleted before.
func TestNoNewWorkInAnEndedProject(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	for round := range 12 {
		web, task := ada.newProject(t), ada.newTask(t)
		end := request{"PATCH", web.path(), object{"status": "archived"}}
		if round%4 >= 2 {
			end = request{"DELETE", web.path(), nil}
		}
		begin := request{"POST", "/api/tasks", object{"title": "x", "project_id": web.ID}}
		if round%3 == 0 {
			begin = request{"PATCH", taskPath(task), object{"project_id": web.ID}}
		}
		if round%2 == 0 {
			end.send(t, ada)
			if got := begin.send(t, ada.on(p[1])); got.status != 409 && got.status != 422 {
				t.Errorf("%d %s", got.status, got.body)
			}
			continue
		}
		parallel(2, func(i int) {
			if got := []request{end, begin}[i].send(t, ada.on(p[i])); got.status/100 != 2 && got.status != 409 && got.status != 422 {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	web := ada.newProject(t, object{"status": "archived"})
	ada.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": web.ID}).problem(t, 409, "project_archived")
	ada.call(t, "PATCH", web.path(), object{"status": "active"}).want(t, 200)
	ada.call(t, "POST", "/api/tasks", object{"title": "x", "project_id": web.ID}).want(t, 201)
	ada.judge(t)
	ada.noDrift(t)
}
