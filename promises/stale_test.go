package promises

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// With the background stopped the read models stay behind what a client writes. No decision may show that:
// nothing is refused, accepted, or taken for done, because of what was true some commands ago.

// modelTask is a task, and one comment on it, as they ought to be.
type modelTask struct {
	id, comment        uuid.UUID
	title, status      string
	deleted, uncomment bool
	people             map[string]bool // "assignees", "viewers": whether bob is one
	version            int
	words              string
}

type model struct {
	*modelTask
	ada  []*client // at each process
	bob  uuid.UUID
	last int64
}

// ask sends a command to any process, and compares what came of it.
func (m *model) ask(t *rapid.T, method, target string, body any, status int, headers ...string) reply {
	t.Helper()
	a := m.ada[rapid.IntRange(0, len(m.ada)-1).Draw(t, "process")].call(t, method, target, body, headers...)
	if a.status != status {
		t.Fatalf("%s: status %d, not %d: %s", a.what, a.status, status, a.body)
	}
	if status < 300 {
		if position := a.position(t); position < m.last {
			t.Fatalf("%s: position %d after %d", a.what, position, m.last)
		}
		m.last = a.position(t)
	}
	return a
}

func (m *model) path() string { return "/api/tasks/" + m.id.String() }

// write sends a command on the task that makes it what change says; changed tells whether that is an event.
func (m *model) write(t *rapid.T, method, target string, body any, changed bool, change func()) {
	t.Helper()
	status := 200
	switch {
	case m.deleted && target != m.path()+"/restore":
		m.ask(t, method, target, body, 404)
		return
	case method == "PUT" || method == "DELETE":
		status = 204
	}
	change()
	if changed {
		m.version++
	}
	a := m.ask(t, method, target, body, status)
	if status == 200 {
		got := decode[domain.Task](t, a)
		if got.Version != m.version || got.Status != m.status || got.Title != m.title {
			t.Fatalf("%s: not %+v but %s", a.what, *m.modelTask, a.body)
		}
	}
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"complete": func(t *rapid.T) {
			m.write(t, "POST", m.path()+"/complete", nil, m.status != "done", func() { m.status = "done" })
		},
		"reopen": func(t *rapid.T) {
			m.write(t, "POST", m.path()+"/reopen", nil, m.status != "open", func() { m.status = "open" })
		},
		"rename": func(t *rapid.T) {
			title := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "title")
			m.write(t, "PATCH", m.path(), object{"title": title}, title != m.title, func() { m.title = title })
		},
		"delete": func(t *rapid.T) { m.write(t, "DELETE", m.path(), nil, true, func() { m.deleted = true }) },
		"restore": func(t *rapid.T) {
			m.write(t, "POST", m.path()+"/restore", nil, m.deleted, func() { m.deleted = false })
		},
		"add": func(t *rapid.T) {
			as := rapid.SampledFrom([]string{"assignees", "viewers"}).Draw(t, "as")
			m.write(t, "PUT", m.path()+"/"+as+"/"+m.bob.String(), nil, !m.people[as], func() { m.people[as] = true })
		},
		"remove": func(t *rapid.T) {
			as := rapid.SampledFrom([]string{"assignees", "viewers"}).Draw(t, "as")
			m.write(t, "DELETE", m.path()+"/"+as+"/"+m.bob.String(), nil, m.people[as], func() { m.people[as] = false })
		},
		"match": func(t *rapid.T) {
			if !m.deleted {
				other := m.version + rapid.IntRange(1, 3).Draw(t, "off")
				if other == m.version+3 && m.version > 1 {
					other = m.version - 1
				}
				m.ask(t, "PATCH", m.path(), object{"title": "never"}, 412, fmt.Sprintf(`If-Match: "%d"`, other))
				m.ask(t, "PATCH", m.path(), object{"title": m.title}, 200, fmt.Sprintf(`If-Match: "%d"`, m.version))
			}
		},
		"comment": m.commented,
		"read":    m.read,
	}
}

func (m *model) commented(t *rapid.T) {
	at := "/api/comments/" + m.comment.String()
	gone := m.deleted || m.comment == uuid.Nil || m.uncomment
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0, 1:
		words := rapid.SampledFrom([]string{"yes", "no"}).Draw(t, "words")
		switch {
		case m.comment == uuid.Nil && m.deleted:
			m.ask(t, "POST", m.path()+"/comments", object{"body": words}, 404)
		case m.comment == uuid.Nil:
			m.comment = decode[domain.Comment](t, m.ask(t, "POST", m.path()+"/comments", object{"body": words}, 201)).ID
			m.words = words
		case gone:
			m.ask(t, "PATCH", at, object{"body": words}, 404)
		default:
			if got := decode[domain.Comment](t, m.ask(t, "PATCH", at, object{"body": words}, 200)); got.Body != words {
				t.Fatalf("the comment says %q", got.Body)
			}
			m.words = words
		}
	case 2:
		if gone {
			m.ask(t, "DELETE", at, nil, 404)
			return
		}
		m.ask(t, "DELETE", at, nil, 204)
		m.uncomment = true
	}
}

func (m *model) read(t *rapid.T) {
	if m.deleted {
		m.ask(t, "GET", m.path(), nil, 404)
		m.ask(t, "GET", m.path()+"/comments", nil, 404)
		return
	}
	got := decode[domain.Task](t, m.ask(t, "GET", m.path(), nil, 200))
	if got.Version != m.version || got.Status != m.status || got.Title != m.title ||
		len(got.AssigneeIDs) == 1 != m.people["assignees"] || len(got.ViewerIDs) == 1 != m.people["viewers"] {
		t.Fatalf("not %+v but %+v", *m.modelTask, got)
	}
	comments := decode[list[domain.Comment]](t, m.ask(t, "GET", m.path()+"/comments", nil, 200)).Items
	if there := m.comment != uuid.Nil && !m.uncomment; there != (len(comments) == 1) || there && comments[0].Body != m.words {
		t.Fatalf("not %+v but %+v", *m.modelTask, comments)
	}
}

func TestNoDecisionIsStale(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	rapid.Check(t, func(t *rapid.T) {
		m := &model{ada: []*client{ada, ada.on(p[1])}, bob: bob.id}
		task := ada.newTask(t, object{"title": "one"})
		m.modelTask = &modelTask{id: task.ID, title: "one", status: "open", version: 1, people: map[string]bool{}}
		actions := m.actions()
		names := slices.Sorted(maps.Keys(actions))
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			actions[rapid.SampledFrom(names).Draw(t, "action")](t)
		}
		m.read(t)
	})
	ada.judge(t)
	ada.noDrift(t)
}

// The smallest walks on which it would show that something was decided on what is no more.
func TestNothingIsTakenForDone(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	task := ada.newTask(t)
	at := taskPath(task)
	comment := decode[domain.Comment](t, ada.call(t, "POST", at+"/comments", object{"body": "x"}).want(t, 201))
	for _, there := range []struct{ method, path, back, backPath, field string }{
		{"POST", at + "/complete", "POST", at + "/reopen", "status"},
		{"PUT", at + "/assignees/" + bob.id.String(), "DELETE", at + "/assignees/" + bob.id.String(), "assignee_ids"},
		{"PUT", at + "/viewers/" + bob.id.String(), "DELETE", at + "/viewers/" + bob.id.String(), "viewer_ids"},
	} {
		ada.call(t, there.method, there.path, nil)
		want := decode[object](t, ada.call(t, "GET", at, nil).want(t, 200))[there.field] // the read models are fresh now
		back := ada.call(t, there.back, there.backPath, nil)
		again := ada.call(t, there.method, there.path, nil)
		if again.position(t) != back.position(t)+1 {
			t.Errorf("%s %s: position %d after %d", there.method, there.path, again.position(t), back.position(t))
		}
		if got := decode[object](t, ada.call(t, "GET", at, nil).want(t, 200))[there.field]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s %s was answered with %d, and %s is %v", there.method, there.path, again.status, there.field, got)
		}
	}
	ada.call(t, "DELETE", at, nil).want(t, 204)
	ada.call(t, "PATCH", "/api/comments/"+comment.ID.String(), object{"body": "y"}).problem(t, 404, "comment_not_found")
}

// Past the bound of the catch-up a read says that it does not know everything, and never that something is not there.
func TestReadsPastTheBound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.openProcess(t, 200*time.Millisecond)
	p.start(t, false)
	other := s.newProcess(t, false)
	ada := p.signUp(t)
	old := ada.newTask(t)
	ada.call(t, "GET", "/api/tasks", nil).want(t, 200)
	over, held := make(chan struct{}), make(chan error, 2)
	release := sync.OnceFunc(func() { close(over) })
	defer release() // or a failure waits for it
	go func() {
		held <- other.db.In(t.Context(), ada.workspace, func(tx *pg.Tx) error {
			err := tx.Run(t.Context(), pg.Exec(`select from checkpoint for update`))
			held <- err
			<-over
			return err
		})
	}()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	task := ada.newTask(t) // nothing waits for the read models here
	a := ada.call(t, "GET", "/api/tasks", nil).want(t, 200)
	if items := decode[list[domain.Task]](t, a).Items; a.header.Get("Kluis-Behind") != "1" || len(items) != 1 || a.position(t) != old.Position {
		t.Errorf("behind %q, position %d, %d items", a.header.Get("Kluis-Behind"), a.position(t), len(items))
	}
	ada.call(t, "GET", taskPath(old), nil).want(t, 200)
	if a := ada.call(t, "GET", taskPath(task), nil); a.status == 404 && a.header.Get("Kluis-Behind") == "" {
		t.Errorf("%s: a refusal on what is not fresh: %d %s", a.what, a.status, a.body)
	}
	bob := ada.invite(t, "viewer") // the roster moves: now nothing is shown at all
	for _, c := range []*client{ada, bob.as(ada.token)} {
		if a := c.call(t, "GET", "/api/tasks", nil).want(t, 503); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", a.what)
		}
	}
	release()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	ada.call(t, "GET", taskPath(task), nil).want(t, 200)
}
