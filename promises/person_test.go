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
