package demo

import (
	"testing"
)

func TestCommand(t *testing.T) {
	w := &workspace{names: names{"o-aaaa"}, people: map[string]*person{"p1": {"m-1", "token-1"}, "p2": {"m-2", "token-2"}}}
	said := map[string]comment{"C": {"c-1", "p1", "as it was"}}
	at := func(status string) *task { return &task{id: "t-1", status: status, comments: said} }
	for _, c := range []struct {
		line         string
		task, parent *task
		want         string
		body         string
		notSent      string
	}{
		{line: line(createTask, `"title":"x"`), task: &task{}, want: "POST /api/tasks", body: `{"priority":"none","title":"x"}`},
		{line: line(createTask, `"title":"x","body":"y","priority":"Critical","status":"to do","assignee":"p2","estimate_minutes":0,"parent":"S"`),
			task: &task{}, parent: &task{id: "t-0"}, want: "POST /api/tasks",
			body: `{"assignee_ids":["m-2"],"description":"y","estimate_minutes":0,"parent_id":"t-0","priority":"urgent","status":"open","title":"x"}`},
		{line: line(createTask, `"title":"x","parent":"S"`), task: &task{}, parent: &task{}, notSent: parentRefused},
		{line: line(setStatus, `"status":"Resolved"`), task: at("open"), want: "POST /api/tasks/t-1/complete", body: "null"},
		{line: line(setStatus, `"status":"closed"`), task: at("done"), want: "POST /api/tasks/t-1/complete", body: "null"},
		{line: line(setStatus, `"status":"reopened"`), task: at("done"), want: "POST /api/tasks/t-1/reopen", body: "null"},
		{line: line(setStatus, `"status":"open"`), task: at("cancelled"), want: "POST /api/tasks/t-1/reopen", body: "null"},
		{line: line(setStatus, `"status":"open"`), task: at("in_progress"), want: "PATCH /api/tasks/t-1", body: `{"status":"open"}`},
		{line: line(setStatus, `"status":"In Progress"`), task: at("done"), want: "PATCH /api/tasks/t-1", body: `{"status":"in_progress"}`},
		{line: line(setStatus, `"status":"wontfix"`), task: at("open"), want: "PATCH /api/tasks/t-1", body: `{"status":"cancelled"}`},
		{line: line(setStatus, `"status":"done"`), task: &task{}, notSent: taskRefused},
		{line: line(addComment, `"comment":"C","body":""`), task: at("done"), want: "POST /api/tasks/t-1/comments", body: `{"body":""}`},
		{line: line(editComment, `"comment":"C"`), task: at("done"), want: "PATCH /api/comments/c-1", body: `{"body":"as it was"}`},
		{line: line(editComment, `"comment":"C","body":"new"`), task: at("done"), want: "PATCH /api/comments/c-1", body: `{"body":"new"}`},
		{line: line(editComment, `"comment":"D"`), task: at("done"), notSent: commentRefused},
	} {
		a, err := parse([]byte(c.line))
		if err != nil {
			t.Fatal(err)
		}
		a.Line = 12
		r, notSent := job{action: a, in: w, task: c.task, parent: c.parent}.command()
		if notSent != c.notSent {
			t.Errorf("%s: not sent %q", c.line, notSent)
		}
		if notSent != "" {
			continue
		}
		if got := r.method + " " + r.path; got != c.want || asJSON(t, r.body) != c.body || r.key != "o-aaaa/line-12" || r.token != "token-1" {
			t.Errorf("%s: %s %s, key %s, token %s", c.line, got, asJSON(t, r.body), r.key, r.token)
		}
	}
}

func TestRightly(t *testing.T) {
	by := func(actor string) job {
		return job{action: action{Do: editComment, Actor: actor, Comment: "C"}, task: &task{comments: map[string]comment{"C": {author: "p1"}}}}
	}
	if by("p2").rightly(&problem{Status: 403}) == "" {
		t.Error("another's comment: refused, and that is right")
	}
	if why := by("p1").rightly(&problem{Status: 403}); why != "" {
		t.Errorf("one's own comment: %s", why)
	}
	if why := by("p2").rightly(&problem{Status: 404}); why != "" {
		t.Errorf("another status: %s", why)
	}
}
