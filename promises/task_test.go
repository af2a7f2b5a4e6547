package promises

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// What was answered is there for whoever asks next, also another process, with the background stopped.
func TestReadsShowWhatWasAnswered(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	for i := range 10 {
		writer, reader := ada.on(p[i%2]), ada.on(p[(i/2)%2])
		task := writer.newTask(t)
		a := reader.call(t, "GET", "/api/tasks", nil).want(t, 200)
		if items := decode[list[domain.Task]](t, a).Items; len(items) != i+1 || items[0].ID != task.ID {
			t.Fatalf("round %d: %d items", i, len(items))
		}
		if a.position(t) != task.Position || a.header.Get("Kluis-Behind") != "" {
			t.Errorf("position %d, behind %q", a.position(t), a.header.Get("Kluis-Behind"))
		}
		writer.call(t, "PATCH", taskPath(task), object{"title": "renamed"}).want(t, 200)
		if got := decode[domain.Task](t, reader.call(t, "GET", taskPath(task), nil).want(t, 200)); got.Title != "renamed" || got.Version != 2 {
			t.Errorf("%+v", got)
		}
	}
}

// walk is one client's steps, of which each must have the position and the version that it ought to have.
type walk struct {
	*client
	t    *testing.T
	last int64
}

// step sends a command that adds events to the log: 0 for one that changes nothing.
func (w *walk) step(method, target string, body any, status, events int) reply {
	w.t.Helper()
	a := w.call(w.t, method, target, body).want(w.t, status)
	if got := a.position(w.t); got != w.last+int64(events) {
		w.t.Fatalf("%s: position %d after %d, expected %d events", a.what, got, w.last, events)
	}
	w.last = a.position(w.t)
	return a
}

func (w *walk) task(a reply, version int, check func(domain.Task) bool) {
	w.t.Helper()
	task := decode[domain.Task](w.t, a)
	if task.Version != version || a.header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(version)) || !check(task) {
		w.t.Fatalf("%s: ETag %s, %s", a.what, a.header.Get("ETag"), a.body)
	}
	got := w.call(w.t, "GET", taskPath(task), nil).want(w.t, 200)
	if diff := cmp.Diff(string(a.body), string(got.body)); diff != "" || got.header.Get("ETag") != a.header.Get("ETag") || got.position(w.t) != w.last {
		w.t.Fatalf("%s: GET answers otherwise, at %d: %s", a.what, got.position(w.t), diff)
	}
}

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	w := &walk{ada, t, ada.head(t)}
	parent := ada.newTask(t)
	w.last++
	day, empty := "2026-12-31", []uuid.UUID{}

	a := w.step("POST", "/api/tasks", object{"title": "Écrire", "description": "<b>&", "due_on": day, "start_on": day,
		"priority": "high", "estimate_minutes": 30, "parent_id": parent.ID, "assignee_ids": []uuid.UUID{bob.id, bob.id}}, 201, 2)
	task := decode[domain.Task](t, a)
	w.task(a, 1, func(k domain.Task) bool {
		return k.Title == "Écrire" && k.Description == "<b>&" && string(*k.DueOn) == day && k.Priority == "high" && *k.EstimateMinutes == 30 &&
			*k.ParentID == parent.ID && len(k.AssigneeIDs) == 1 && k.AssigneeIDs[0] == bob.id && k.CreatedBy == ada.id && k.Status == "open"
	})
	at := taskPath(task)
	w.task(w.step("PATCH", at, object{"title": "Schrijven", "due_on": nil, "parent_id": nil, "status": "in_progress"}, 200, 1), 2, func(k domain.Task) bool {
		return k.Title == "Schrijven" && k.DueOn == nil && k.ParentID == nil && k.Status == "in_progress" && k.StartOn != nil
	})
	w.task(w.step("PATCH", at, object{"title": "Schrijven"}, 200, 0), 2, func(domain.Task) bool { return true })
	w.task(w.step("PATCH", at, object{}, 200, 0), 2, func(domain.Task) bool { return true })
	w.task(w.step("PATCH", at, object{"status": "done", "assignee_ids": []uuid.UUID{ada.id}}, 200, 3), 5, func(k domain.Task) bool {
		return k.CompletedAt != nil && k.AssigneeIDs[0] == ada.id && len(k.AssigneeIDs) == 1
	})
	w.task(w.step("POST", at+"/complete", nil, 200, 0), 5, func(k domain.Task) bool { return k.Status == "done" })
	w.task(w.step("POST", at+"/reopen", nil, 200, 1), 6, func(k domain.Task) bool { return k.Status == "open" && k.CompletedAt == nil })
	w.task(w.step("POST", at+"/complete", nil, 200, 1), 7, func(k domain.Task) bool { return k.Status == "done" && k.CompletedAt != nil })
	w.task(w.step("PATCH", at, object{"assignee_ids": empty}, 200, 1), 8, func(k domain.Task) bool { return len(k.AssigneeIDs) == 0 })
	for _, people := range []string{"/assignees/", "/viewers/"} {
		w.step("PUT", at+people+bob.id.String(), nil, 204, 1)
		w.step("PUT", at+people+bob.id.String(), nil, 204, 0)
		w.step("DELETE", at+people+bob.id.String(), nil, 204, 1)
		w.step("DELETE", at+people+bob.id.String(), nil, 204, 0)
	}
	w.step("DELETE", at, nil, 204, 1)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		var body any
		if method == "PATCH" {
			body = object{"title": "x"}
		}
		w.call(t, method, at, body).problem(t, 404, "task_not_found")
	}
	if items := pages[domain.Task](t, ada, "/api/tasks", 50); len(items) != 1 {
		t.Errorf("%d tasks are listed beside a deleted one", len(items))
	}
	w.task(w.step("POST", at+"/restore", nil, 200, 1), 14, func(k domain.Task) bool { return k.DeletedAt == nil && k.Status == "done" })
	w.step("POST", at+"/restore", nil, 200, 0)
	ada.judge(t)
	ada.noDrift(t)
}

func TestLifeOfAComment(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	task := ada.newTask(t)
	w := &walk{bob, t, ada.head(t)}
	comments := func() []domain.Comment {
		t.Helper()
		return pages[domain.Comment](t, ada, taskPath(task, "comments"), 50)
	}
	comment := decode[domain.Comment](t, w.step("POST", taskPath(task, "comments"), object{"body": "one"}, 201, 1))
	if comment.CreatedBy != bob.id || comment.TaskID != task.ID || comment.Version != 1 {
		t.Errorf("%+v", comment)
	}
	at := "/api/comments/" + comment.ID.String()
	edited := decode[domain.Comment](t, w.step("PATCH", at, object{"body": "two"}, 200, 1))
	w.step("PATCH", at, object{"body": "two"}, 200, 0)
	if diff := cmp.Diff([]domain.Comment{edited}, comments()); diff != "" || edited.Body != "two" {
		t.Error(diff)
	}
	carol := ada.member(t, "member")
	carol.call(t, "PATCH", at, object{"body": "three"}).problem(t, 403, "forbidden")
	carol.call(t, "DELETE", at, nil).problem(t, 403, "forbidden")
	w.last = ada.head(t)
	w.step("DELETE", at, nil, 204, 1)
	w.call(t, "PATCH", at, object{"body": "x"}).problem(t, 404, "comment_not_found")
	w.call(t, "DELETE", at, nil).problem(t, 404, "comment_not_found")
	if len(comments()) != 0 {
		t.Error("a deleted comment is listed")
	}
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	ada.call(t, "GET", taskPath(task, "comments"), nil).problem(t, 404, "task_not_found")
	bob.call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).problem(t, 404, "task_not_found")
	ada.noDrift(t)
}

// What people write is taken up to 65,536 characters, however many bytes a character has and however JSON writes it, is read
// back as it was, and one character more is refused where it is.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t)
	for name, unit := range map[string]string{"ASCII": "x", "four bytes": "🔒", "escaped": `\ud83d\udd12`, "with accents": "é"} {
		text, more := json.RawMessage(`"`+strings.Repeat(unit, 65_536)+`"`), json.RawMessage(`"`+strings.Repeat(unit, 65_537)+`"`)
		var want string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		for what, request := range map[string]struct{ method, path, field string }{
			"description of a new task": {"POST", "/api/tasks", "description"},
			"description":               {"PATCH", taskPath(task), "description"},
			"comment":                   {"POST", taskPath(task) + "/comments", "body"},
		} {
			body := func(text json.RawMessage) object {
				o := object{request.field: text}
				if request.path == "/api/tasks" {
					o["title"] = "x"
				}
				return o
			}
			a := ada.call(t, request.method, request.path, body(text))
			if a.status >= 300 {
				t.Fatalf("%s, %s: %d %.300s", name, what, a.status, a.body)
			}
			got := decode[map[string]any](t, a)[request.field]
			if got != want {
				t.Errorf("%s, %s: another text comes back", name, what)
			}
			ada.call(t, request.method, request.path, body(more)).refusedAs(t, name+", "+what, 422, "/"+request.field)
		}
	}
}

func TestTaskAsItWas(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	before := time.Now()
	time.Sleep(2 * time.Millisecond)
	states := []domain.Task{ada.newTask(t)}
	at := taskPath(states[0])
	for _, body := range []object{{"title": "two"}, {"status": "done"}, {"status": "open", "priority": "urgent"}} {
		time.Sleep(2 * time.Millisecond)
		states = append(states, decode[domain.Task](t, ada.call(t, "PATCH", at, body).want(t, 200)))
	}
	asOf := func(at string, when time.Time) reply {
		return ada.call(t, "GET", at+"?as_of="+url.QueryEscape(when.Format(time.RFC3339Nano)), nil)
	}
	for _, state := range states {
		for _, when := range []time.Time{state.UpdatedAt, state.UpdatedAt.Add(time.Millisecond), state.UpdatedAt.In(time.FixedZone("", 3600))} {
			a := asOf(at, when).want(t, 200)
			if diff := cmp.Diff(state, decode[domain.Task](t, a)); diff != "" || a.header.Get("ETag") != fmt.Sprintf(`"%d"`, state.Version) {
				t.Errorf("as of %s: %s", when, diff)
			}
		}
	}
	asOf(at, before).problem(t, 404, "task_not_found")
	asOf(at, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)).problem(t, 404, "task_not_found")
	asOf(at, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)).want(t, 200)
	ada.call(t, "DELETE", at, nil).want(t, 204)
	ada.call(t, "POST", at+"/restore", nil).want(t, 200)
	// a deleted task: as it was, who deleted it, and how to find it for /restore
	task := states[len(states)-1]
	ada.call(t, "DELETE", at, nil).want(t, 204)
	asOf(at, task.UpdatedAt).want(t, 200)
	ada.call(t, "GET", at, nil).problem(t, 404, "task_not_found")
	events := decode[list[struct {
		Type  string
		Actor uuid.UUID
	}]](t, ada.call(t, "GET", at+"/history", nil).want(t, 200)).Items
	if last := events[len(events)-1]; last.Type != "task.deleted" || last.Actor != ada.id {
		t.Errorf("%+v", last)
	}
	other := ada.newTask(t)
	for query, want := range map[string]uuid.UUID{"?deleted=true": task.ID, "?deleted=true&status=open": task.ID, "?deleted=false": other.ID, "": other.ID} {
		if listed := decode[list[domain.Task]](t, ada.call(t, "GET", "/api/tasks"+query, nil).want(t, 200)).Items; len(listed) != 1 || listed[0].ID != want {
			t.Errorf("%q lists %+v", query, listed)
		}
	}
	eve := ada.member(t, "viewer") // who never saw it
	eve.call(t, "GET", at+"/history", nil).problem(t, 404, "task_not_found")
	eve.call(t, "GET", at+"?as_of="+url.QueryEscape(task.UpdatedAt.Format(time.RFC3339Nano)), nil).problem(t, 404, "task_not_found")
	if listed := pages[domain.Task](t, eve, "/api/tasks?deleted=true", 50); len(listed) != 0 {
		t.Errorf("a viewer is shown %+v", listed)
	}
	ada.call(t, "POST", at+"/restore", nil).want(t, 200)

	history := decode[list[struct{ At time.Time }]](t, ada.call(t, "GET", at+"/history", nil).want(t, 200)).Items
	asOf(at, history[len(history)-2].At).problem(t, 404, "task_not_found") // it was deleted then
}

func TestTaskHistory(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	task := ada.newTask(t, object{"title": "one"})
	bob.call(t, "PATCH", taskPath(task), object{"title": "two", "priority": "low"}).want(t, 200)
	ada.call(t, "POST", taskPath(task, "complete"), nil).want(t, 200)
	ada.call(t, "PUT", taskPath(task, "viewers", bob.id), nil).want(t, 204)
	name := string(must(json.Marshal(bob.name)))
	want := []string{`task.created title null > "one"`, `task.created status null > "open"`, `task.created priority null > "none"`,
		`task.updated title "one" > "two"`, `task.updated priority "none" > "low"`, `task.completed status "open" > "done"`, `task.completed completed_at`,
		`task.viewer_added viewer_ids [] > [` + name + `]`}
	if diff := cmp.Diff(want, asText(bob.story(t, taskPath(task)))); diff != "" {
		t.Error(diff)
	}
}
