package promises

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

type personData struct {
	Member     object `json:"member"`
	Categories []struct {
		Name, Title, Basis string
		Data               []struct {
			Kind string
			Rows []map[string]any
		}
	} `json:"categories"`
	Events []struct {
		Type, Text string
		Actor      *uuid.UUID
		Meta       *struct{ IP string }
		Data       json.RawMessage
	} `json:"events"`
}

// rows are those of a kind.
func (d personData) rows(kind string) (rows []map[string]any) {
	for _, c := range d.Categories {
		for _, table := range c.Data {
			if table.Kind == kind {
				rows = append(rows, table.Rows...)
			}
		}
	}
	return rows
}

// A member gets everything that is about them, in JSON and in their language, and so does an admin, also about somebody who left; nobody
// else does. Of others there is nothing personal in it, and of nobody a secret. The log tells each time.
func TestEverythingAboutAPerson(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	grace, bob := ada.member(t, "admin"), ada.member(t, "member")
	grace.call(t, "PATCH", "/api/me", object{"language": "nl"}).want(t, 200)
	script := `<script>alert("x")</script>`
	task := decode[domain.Task](t, grace.call(t, "POST", "/api/tasks", object{"title": script}).want(t, 201))
	grace.call(t, "POST", taskPath(task, "comments"), object{"body": "a remark of hers"}).want(t, 201)
	grace.call(t, "POST", "/api/time-entries", object{"start": "2026-03-01T09:00:00Z", "minutes": 90, "activity": "sums"}).want(t, 201)
	grace.attach(t, task, "her file.txt", "x")
	carol := grace.invite(t, "member")
	bobs := decode[domain.Task](t, bob.call(t, "POST", "/api/tasks", object{"title": "a task of Bob alone"}).want(t, 201))

	at := "/api/members/" + grace.id.String() + "/data"
	text := grace.call(t, "POST", at, nil).want(t, 200)
	data := decode[personData](t, text)
	if data.Member["email"] != grace.email || data.Member["full_name"] != grace.name {
		t.Errorf("the profile: %v", data.Member)
	}
	for kind, n := range map[string]int{"member": 1, "session": 1, "credential": 1, "task": 1, "comment": 1, "time_entry": 1, "attachment": 1} {
		if rows := data.rows(kind); len(rows) < n {
			t.Errorf("%s: %v", kind, rows)
		}
	}
	said, from := map[string]bool{}, false
	for _, e := range data.Events {
		said[e.Type] = true
		from = from || e.Meta != nil && e.Meta.IP != ""
		if e.Actor == nil || *e.Actor != grace.id {
			if e.Meta != nil {
				t.Errorf("from where somebody else acted: %+v", e)
			}
		}
	}
	for _, want := range []string{"member.logged_in", "task.created", "comment.created", "time_entry.created", "member.invited", "member.data_exported"} {
		if want == "member.logged_in" {
			continue // she came by an invitation
		}
		if !said[want] {
			t.Errorf("%s is not among what happened", want)
		}
	}
	if !from {
		t.Error("it does not say from where she acted")
	}
	for _, not := range []string{carol.email, ada.email, bob.email, "a task of Bob alone", bobs.ID.String(), grace.token, grace.password, "$argon2", "digest\":\"\\\\x"} {
		if strings.Contains(string(text.body), not) {
			t.Errorf("it has %q", not)
		}
	}
	page := grace.call(t, "POST", at+"?format=html", nil).want(t, 200)
	if html := string(page.body); !strings.Contains(html, `lang="nl"`) || !strings.Contains(html, "Alles wat er over u is") || !strings.Contains(html, "weten wie lid is van de werkruimte") || strings.Contains(html, "to know who") || strings.Contains(html, script) ||
		!strings.Contains(html, "a remark of hers") || !strings.Contains(html, "gegevensbeschermingsautoriteit") || !strings.Contains(html, "Example BV, Brussels beheert Kluis") ||
		regexp.MustCompile(`<(th|h3)>[^<]*_|<(th|h3)>(</|[a-z])`).MatchString(html) || !strings.Contains(html, "<h3>Taken</h3>") || strings.Contains(html, "{workspace}") || strings.Contains(html, "{operator}") || strings.Contains(html, "{residency}") || page.header.Get("Content-Language") != "nl" {
		t.Errorf("the page: %.2000s", html)
	}

	bob.call(t, "POST", at, nil).want(t, 404)
	bob.call(t, "POST", "/api/members/"+bob.id.String()+"/data", nil).want(t, 200)
	p.signUp(t).call(t, "POST", at, nil).want(t, 404)
	ada.call(t, "POST", "/api/members/"+uuid.NewString()+"/data", nil).want(t, 404)
	ada.call(t, "DELETE", "/api/members/"+grace.id.String(), nil).want(t, 204)
	left := decode[personData](t, ada.call(t, "POST", at, nil).want(t, 200))
	if left.Member["status"] != "removed" || len(left.rows("task")) != 1 || len(left.rows("session")) != 0 {
		t.Errorf("of who left: %v", left.Member)
	}
	asked := 0
	for _, r := range ada.log(t) {
		if r.Type == "member.data_exported" {
			asked++
		}
	}
	if asked != 4 {
		t.Errorf("the log tells of %d", asked)
	}
}

// The data about a member name tasks and projects by key and title, as far as the caller sees them now: not what a task came to be called, or came to
// say, after the member lost sight of it.
func TestDataAboutAPersonNameThings(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	all := func(resource string, actions ...string) (grants []domain.Grant) {
		for _, action := range actions {
			grants = append(grants, domain.Grant{Resource: resource, Action: action, Scope: domain.InProject})
		}
		return grants
	}
	grants := append(all("task", "read", "create", "update"), all("comment", "read", "create")...)
	grants = append(append(grants, all("project", "read")...), all("time_entry", "read", "create")...)
	bob := ada.member(t, ada.newRole(t, grants...).ID)
	seen, lost := ada.newProject(t, object{"key": "SEEN", "name": "Garden"}), ada.newProject(t, object{"key": "LOST", "name": "Cellar"})
	for _, project := range []apiProject{seen, lost} {
		ada.call(t, "PUT", project.path("members", bob.id), nil).want(t, 204)
		task := ada.newTask(t, object{"project_id": project.ID, "title": "door of " + project.Name})
		bob.newTime(t, object{"task_id": task.ID})
		bob.call(t, "PATCH", taskPath(task), object{"priority": "high"}).want(t, 200)
		bob.call(t, "POST", taskPath(task, "comments"), object{"body": "my words"}).want(t, 201)
		made := bob.newTask(t, object{"project_id": project.ID, "title": "window of " + project.Name})
		ada.call(t, "PUT", taskPath(made, "tags", ada.newTag(t, "tag of "+project.Name).ID), nil).want(t, 204)
	}
	ada.call(t, "DELETE", lost.path("members", bob.id), nil).want(t, 204)
	ada.call(t, "PATCH", "/api/tasks/LOST-1", object{"title": "later secret"}).want(t, 200)
	ada.call(t, "PATCH", lost.path(), object{"name": "later secret"}).want(t, 200)
	at := "/api/members/" + bob.id.String() + "/data"
	type named struct {
		Things []struct{ Noun, Key, Title string }
	}
	for who, c := range map[string]struct {
		client *client
		things int
		secret bool
	}{"himself": {bob, 2, false}, "an admin": {ada, 4, true}} {
		answer := c.client.call(t, "POST", at, nil).want(t, 200)
		page := c.client.call(t, "POST", at+"?format=html", nil).want(t, 200)
		things := decode[named](t, answer).Things
		if len(things) != c.things {
			t.Errorf("%s: %+v", who, things)
		}
		for _, text := range []string{string(answer.body), string(page.body)} {
			if strings.Contains(text, "later secret") != c.secret {
				t.Errorf("%s gets what the task was called later: %t", who, !c.secret)
			}
			if !strings.Contains(text, "my words") {
				t.Errorf("%s does not get what he wrote", who)
			}
		}
		if html := string(page.body); !strings.Contains(html, "<td>SEEN-1 door of Garden</td>") || !strings.Contains(html, "<td>SEEN Garden</td>") {
			t.Errorf("the page for %s: %.3000s", who, html)
		}
	}
}
