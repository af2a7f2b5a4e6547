package promises

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// outcomes is the answer to many operations.
type outcomes struct {
	Results []struct {
		Status  int
		ID      *uuid.UUID
		ETag    *string
		Problem *problem
	}
}

func (c *client) bulk(t tester, atomic bool, operations []object, headers ...string) reply {
	t.Helper()
	return c.call(t, "POST", "/api/tasks/bulk", object{"atomic": atomic, "operations": operations}, headers...)
}

func creates(fields object) object { return object{"op": "create", "task": fields} }

func updates(task domain.Task, fields object) object {
	return object{"op": "update", "id": task.ID, "task": fields}
}

// A thousand operations are one append; the tasks of a project have their numbers in the order of the operations; one more is refused.
func TestAThousandOperations(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	web := ada.newProject(t, object{"key": "WEB"})
	var operations []object
	for i := range 1000 {
		operations = append(operations, creates(object{"title": fmt.Sprint(i), "project_id": web.ID, "assignee_ids": []uuid.UUID{ada.id}}))
	}
	before := ada.head(t)
	a := ada.bulk(t, true, operations, "Idempotency-Key: k").want(t, 200)
	if ada.head(t) != before+2000 || a.position(t) != before+2000 {
		t.Errorf("%d events", ada.head(t)-before)
	}
	if again := ada.on(p[1]).bulk(t, true, operations, "Idempotency-Key: k"); again.essence() != a.essence() {
		t.Errorf("again: %.300s", again.essence())
	}
	results := decode[outcomes](t, a).Results
	for i, r := range results {
		if i%99 == 0 {
			key := fmt.Sprint("WEB-", i+1)
			task := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/"+key, nil).want(t, 200))
			if r.Status != 201 || task.ID != *r.ID || *r.ETag != `"1"` || task.Title != fmt.Sprint(i) {
				t.Errorf("%d: %+v is %+v", i, r, task)
			}
		}
	}
	for i, r := range results {
		operations[i] = object{"op": "update", "id": r.ID, "task": object{"status": "done"}}
	}
	if got := decode[outcomes](t, ada.bulk(t, false, operations).want(t, 200)).Results; *got[999].ETag != `"2"` || got[999].Status != 200 {
		t.Errorf("%+v", got[999])
	}
	ada.bulk(t, false, append(operations, operations[0])).problem(t, 422, "invalid")
	ada.bulk(t, false, []object{}).problem(t, 422, "invalid")
	ada.judge(t)
	ada.noDrift(t)
}

// With atomic all is done or nothing, and the answer points to what is wrong; without, each has its own answer, which is the same again.
func TestOperationsFailAloneOrTogether(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task, hidden := ada.newTask(t), uuid.New()
	operations := []object{
		creates(object{"title": "good"}),
		creates(object{"title": " "}),
		{"op": "update", "id": hidden, "task": object{"title": "x"}},
		updates(task, object{"title": "better", "due_on": "2026-02-30"}),
		updates(task, object{"title": "best"}),
		creates(object{"title": "x", "assignee_ids": []uuid.UUID{uuid.New()}}),
	}
	head := ada.head(t)
	refused := ada.bulk(t, true, operations, "Idempotency-Key: k").problem(t, 422, "operations_refused")
	var pointers []string
	for _, e := range refused.Errors {
		pointers = append(pointers, e.Pointer)
	}
	if fmt.Sprint(pointers) != "[/operations/1/task/title /operations/2 /operations/3/task/due_on /operations/5/task/assignee_ids]" || ada.head(t) != head {
		t.Errorf("%v at %d", pointers, ada.head(t))
	}
	a := ada.bulk(t, false, operations, "Idempotency-Key: k").want(t, 200)
	results := decode[outcomes](t, a).Results
	for i, want := range []int{201, 422, 404, 422, 200, 422} {
		r := results[i]
		if r.Status != want || (r.Problem != nil) != (want >= 400) || (r.ID == nil) != (want >= 400) {
			t.Errorf("operation %d: %+v", i, r)
		}
	}
	if results[3].Problem.Errors[0].Pointer != "/operations/3/task/due_on" || results[2].Problem.Code != "task_not_found" || *results[4].ETag != `"2"` {
		t.Errorf("%s", a.body)
	}
	ada.call(t, "PATCH", taskPath(task), object{"title": "by others"}).want(t, 200)
	for i := range p {
		if again := ada.on(p[i]).bulk(t, false, operations, "Idempotency-Key: k"); again.essence() != a.essence() {
			t.Errorf("again %s, first %s", again.essence(), a.essence())
		}
		ada.on(p[i]).bulk(t, true, operations, "Idempotency-Key: k").problem(t, 422, "idempotency_key_reused")
	}
	nothing := []object{updates(task, object{"title": " "})}
	none := ada.bulk(t, false, nothing, "Idempotency-Key: none").want(t, 200)
	if again := ada.on(p[1]).bulk(t, false, nothing, "Idempotency-Key: none"); again.essence() != none.essence() {
		t.Errorf("again %s, first %s", again.essence(), none.essence())
	}
	ada.judge(t)
	ada.noDrift(t)
}

// An operation sees what those before it did: also parents, projects, external ids and places, which no two take together.
func TestOperationsSeeEachOther(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	vic := ada.member(t, "viewer")
	web, app := ada.newProject(t, object{"key": "WEB"}), ada.newProject(t, object{"key": "APP"})
	in := object{"project_id": web.ID}
	a, b, c := ada.newTask(t, in), ada.newTask(t, in), ada.newTask(t, in)
	first := ada.newTask(t, in, object{"title": "first"})
	status := func(operations ...object) (all []int) {
		for _, r := range decode[outcomes](t, ada.bulk(t, false, operations).want(t, 200)).Results {
			all = append(all, r.Status)
		}
		return all
	}
	want := func(got []int, want ...int) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	want(status(updates(a, object{"parent_id": b.ID}), updates(b, object{"parent_id": c.ID}), updates(c, object{"parent_id": a.ID})), 200, 200, 422) // a circle
	pair := object{"external_source": "s", "external_id": "1"}
	want(status(updates(a, pair), updates(b, pair), updates(a, object{"external_source": nil, "external_id": nil}), updates(c, pair)), 200, 409, 200, 200)
	// b is below c, and a below b: all go along, once a request
	want(status(updates(c, object{"project_id": app.ID}), updates(a, object{"project_id": web.ID}), updates(b, object{"parent_id": nil}), updates(b, object{"project_id": web.ID})),
		200, 422, 200, 422)
	want(status(updates(b, object{"project_id": web.ID})), 200)
	// so does what came below just before
	top := ada.newTask(t)
	want(status(creates(object{"title": "leaf", "parent_id": top.ID}), updates(top, object{"project_id": app.ID})), 201, 200)
	for task, project := range map[string]uuid.UUID{"a": web.ID, "b": web.ID, "c": app.ID} {
		id := map[string]domain.Task{"a": a, "b": b, "c": c}[task]
		if got := decode[domain.Task](t, ada.call(t, "GET", taskPath(id), nil).want(t, 200)); *got.ProjectID != project {
			t.Errorf("%s is in %s", task, *got.ProjectID)
		}
	}
	// a list put in order, one behind the other
	want(status(updates(a, object{"after": first.ID, "title": "1"}), updates(b, object{"after": a.ID, "title": "2"}), updates(c, object{"after": b.ID, "title": "3"}),
		updates(c, object{"before": first.ID}), updates(c, object{"after": a.ID, "before": b.ID})), 200, 200, 200, 200, 422)
	if order := ada.order(t); order[0] != "3" || order[1] != "first" || order[2] != "1" || order[3] != "2" {
		t.Errorf("%v", order)
	}
	ada.call(t, "PUT", taskPath(a, "viewers", vic.id), nil).want(t, 204)
	vic.bulk(t, false, []object{updates(a, object{"title": "x"})}).problem(t, 403, "forbidden")
	ada.bulk(t, false, []object{{"op": "create", "id": a.ID, "task": object{"title": "x"}}}).refusedAs(t, "an id for a new one", 422, "/operations/0/id")
	for _, place := range []string{"before", "after"} {
		ada.bulk(t, false, []object{creates(object{"title": "x", place: a.ID})}).refusedAs(t, "a place for a new one", 422, "/operations/0/task/"+place)
	}
	ada.bulk(t, false, []object{{"op": "update", "task": object{"title": "x"}}}).refusedAs(t, "no id", 422, "/operations/0/id")
	ada.judge(t)
	ada.noDrift(t)
}

// An operation names its task by id or by a key, in capitals or not, as a path does. A key of no task, or of a hidden one, is not found.
func TestOperationsTakeKeys(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	in := object{"project_id": ada.newProject(t, object{"key": "WEB"}).ID}
	first, second := ada.newTask(t, in), ada.newTask(t, in)
	operations := []object{
		{"op": "update", "id": "WEB-1", "task": object{"title": "a"}},
		{"op": "update", "id": "web-2", "task": object{"title": "b"}},
		{"op": "update", "id": "WEB-3", "task": object{"title": "c"}},
		{"op": "update", "id": first.ID, "task": object{"priority": "high"}},
	}
	a := ada.bulk(t, false, operations, "Idempotency-Key: k").want(t, 200)
	results := decode[outcomes](t, a).Results
	if *results[0].ID != first.ID || *results[1].ID != second.ID || results[2].Status != 404 || results[2].Problem.Code != "task_not_found" || *results[3].ETag != `"3"` {
		t.Errorf("%s", a.body)
	}
	if again := ada.on(p[1]).bulk(t, false, operations, "Idempotency-Key: k"); again.essence() != a.essence() {
		t.Errorf("again %s, first %s", again.essence(), a.essence())
	}
	if got := decode[domain.Task](t, ada.call(t, "GET", "/api/tasks/WEB-1", nil).want(t, 200)); got.Title != "a" || got.Priority != "high" {
		t.Errorf("%+v", got)
	}
	eve, _ := ada.member(t, "member").newToken(t, domain.Grant{Resource: "task", Action: "update", Scope: domain.Own}, domain.Grant{Resource: "task", Action: "read", Scope: domain.Own})
	hidden, unknown := eve.bulk(t, false, operations[:1]).want(t, 200), eve.bulk(t, false, operations[2:3]).want(t, 200)
	if hidden.sameBytes(t) != unknown.sameBytes(t) {
		t.Errorf("a hidden task is %s, and none is %s", hidden.body, unknown.body)
	}
	for _, bad := range []any{"WEB-0", "WEB", "", "WEB-1 ", 1, "00000000000000000000000000000000", "------------------------------------"} {
		ada.bulk(t, false, []object{{"op": "update", "id": bad, "task": object{"title": "x"}}}).refusedAs(t, fmt.Sprint(bad), 422, "/operations/0/id")
	}
	ada.judge(t)
	ada.noDrift(t)
}

// Many who change the same tasks in bulk at once, in two processes: all are done, one after the other.
func TestOperationsAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	var tasks []domain.Task
	for range 20 {
		tasks = append(tasks, ada.newTask(t))
	}
	parallel(6, func(i int) {
		var operations []object
		for _, task := range tasks {
			operations = append(operations, updates(task, object{"title": fmt.Sprint("by ", i)}))
		}
		ada.on(p[i%2]).bulk(t, i%3 == 0, operations).want(t, 200)
	})
	var titles []string
	for _, task := range pages[domain.Task](t, ada, "/api/tasks", 200) {
		titles = append(titles, task.Title)
		if task.Version != 7 || task.Title != titles[0] {
			t.Errorf("%+v", task)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}
