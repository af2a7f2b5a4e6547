package promises

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// watched makes processes that record what is refused and who reads the log. A window is so long that only the end of a process ends it.
func watched(t *testing.T, n int) []*process {
	t.Helper()
	s := newSite(t)
	s.window = time.Hour
	for range n {
		s.newProcess(t, false)
	}
	return s.processes
}

// incidents are the events of the log that no command made, as texts "<type> by <who>: <data>", sorted. Ids of things and tokens are named.
func (c *client) incidents(t tester, names map[string]string) (all []string) {
	t.Helper()
	for _, r := range c.log(t) {
		if r.Stream != domain.SecurityStream && r.Type != "member.login_refused" && r.Type != "member.logged_out" && r.Type != "member.session_ended" {
			continue
		}
		who := "nobody"
		if r.Actor != nil {
			who = r.Actor.String()
		}
		text := fmt.Sprintf("%s by %s: %s", r.Type, who, r.Data)
		if r.Meta == nil && r.Type != "security.truncated" {
			text += " from nowhere"
		}
		for id, name := range names {
			text = strings.ReplaceAll(text, id, name)
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// wantIncidents waits until the log has these and no others.
func (c *client) wantIncidents(t *testing.T, names map[string]string, want ...string) {
	t.Helper()
	slices.Sort(want)
	var diff string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(want, c.incidents(t, names)); diff == "" {
			return
		}
	}
	t.Errorf("the log tells something else:\n%s", diff)
}

// The log tells what a member, an API token or a stranger was refused, who read it, and which sessions were ended: the first at once, those that
// are alike as a count. What is not there and what is hidden are told alike.
func TestWhatIsRefusedIsTold(t *testing.T) {
	t.Parallel()
	p := watched(t, 1)
	ada := p[0].signUp(t)
	carol, bob := ada.member(t, "member"), ada.member(t, "auditor")
	eve := p[0].signUp(t)
	script, token := carol.newToken(t, domain.Grant{Resource: "task", Action: "read", Scope: domain.Own})
	hidden, absent := ada.newTask(t, object{"title": "Pay rises"}), uuid.NewString()
	names := map[string]string{ada.id.String(): "ada", carol.id.String(): "carol", bob.id.String(): "bob", hidden.ID.String(): "hidden", absent: "absent", token.ID.String(): "token"}

	for range 3 {
		carol.call(t, "GET", "/api/audit/events", nil).problem(t, 403, "forbidden")
	}
	for range 2 {
		script.call(t, "POST", "/api/tasks", object{"title": "x"}).problem(t, 403, "forbidden")
		script.call(t, "GET", taskPath(hidden), nil).problem(t, 404, "task_not_found")
	}
	eve.call(t, "GET", taskPath(hidden), nil).problem(t, 404, "task_not_found")
	script.call(t, "GET", "/api/tasks/"+absent, nil).problem(t, 404, "task_not_found")
	script.call(t, "POST", "/api/logout", nil).problem(t, 403, "session_required")
	carol.call(t, "PATCH", "/api/tasks/"+absent, object{"title": ""}).want(t, 422)
	carol.call(t, "POST", "/api/tasks/bulk", object{"atomic": false, "operations": []object{
		{"op": "update", "id": absent, "task": object{"title": "x"}}, {"op": "update", "id": uuid.New(), "task": object{"title": "x"}}}}).want(t, 200)
	p[0].public().call(t, "GET", taskPath(hidden), nil).want(t, 401)
	bob.call(t, "GET", "/api/audit/events", nil).want(t, 200)
	bob.call(t, "GET", "/api/audit/events?actor="+carol.id.String(), nil).want(t, 200)
	bob.call(t, "GET", "/api/audit/replay", nil).want(t, 200)
	carol.logIn(t, "a wrong password").want(t, 401)
	stranger := *carol
	stranger.email = "nobody@people.example"
	for range 3 {
		stranger.logIn(t, "a wrong password").want(t, 401)
	}
	carol.accept(t, "000000", newPassword()).want(t, 422)

	again := *carol
	again.enter(t, carol.logIn(t, carol.password).want(t, 200))
	other := again
	other.enter(t, carol.logIn(t, carol.password).want(t, 200))
	for _, s := range decode[list[session]](t, again.call(t, "GET", "/api/sessions", nil).want(t, 200)).Items {
		if s.Current {
			names[s.ID.String()] = "one session"
			other.call(t, "DELETE", "/api/sessions/"+s.ID.String(), nil).want(t, 204)
			other.call(t, "DELETE", "/api/sessions/"+s.ID.String(), nil).want(t, 404)
		}
	}
	for _, s := range decode[list[session]](t, other.call(t, "GET", "/api/sessions", nil).want(t, 200)).Items {
		if s.Current {
			names[s.ID.String()] = "other session"
		}
	}
	other.call(t, "POST", "/api/logout", nil).want(t, 204)

	first := []string{
		`security.access_denied by carol: {"operation":"list-audit-events","code":"forbidden","count":1}`,
		`security.access_denied by carol: {"operation":"create-task","code":"forbidden","token_id":"token","count":1}`,
		`security.access_denied by carol: {"operation":"get-task","code":"task_not_found","noun":"task","thing_ids":["hidden"],"token_id":"token","count":1}`,
		`security.access_denied by carol: {"operation":"log-out","code":"session_required","token_id":"token","count":1}`,
		`security.access_denied by carol: {"operation":"bulk-tasks","code":"task_not_found","count":1}`,
		`security.access_denied by carol: {"operation":"end-session","code":"session_not_found","noun":"session","thing_ids":["one session"],"count":1}`,
		`security.log_read by bob: {"operation":"list-audit-events","count":1}`,
		`security.log_read by bob: {"operation":"replay-audit-log","count":1}`,
		`security.login_failed by nobody: {"operation":"log-in","code":"bad_credentials","count":1}`,
		`member.login_refused by nobody: {"member_id":"carol","operation":"accept-invitation","code":"bad_code","count":1}`,
		`member.session_ended by carol: {"member_id":"carol","session_id":"one session"}`,
		`member.logged_out by carol: {"member_id":"carol","session_id":"other session"}`,
	}
	ada.wantIncidents(t, names, first...)
	p[0].stop()
	later := p[0].site.newProcess(t, false)
	counted := slices.Concat(first, []string{
		`security.access_denied by carol: {"operation":"list-audit-events","code":"forbidden","count":2}`,
		`security.access_denied by carol: {"operation":"create-task","code":"forbidden","token_id":"token","count":1}`,
		`security.access_denied by carol: {"operation":"get-task","code":"task_not_found","noun":"task","thing_ids":["hidden","absent"],"token_id":"token","count":2}`,
		`security.access_denied by carol: {"operation":"bulk-tasks","code":"task_not_found","count":1}`,
		`security.log_read by bob: {"operation":"list-audit-events","count":1}`,
		`security.login_failed by nobody: {"operation":"log-in","code":"bad_credentials","count":2}`,
	})
	ada.on(later).wantIncidents(t, names, counted...)
	ada.on(later).judge(t)
	ada.on(later).noDrift(t)

	for language, want := range map[string]string{"en": " was refused “get-task” about “Pay rises” with the API token “script”: it is not there for the caller",
		"fr": " n’a pas eu droit à « get-task » à propos de « Pay rises » avec le jeton d’API « script » : introuvable pour ce compte",
		"nl": " kreeg geen toegang tot ‘get-task’ over ‘Pay rises’ met het API-token ‘script’: het is er niet voor wie het vroeg"} {
		text := string(bob.on(later).call(t, "GET", "/api/audit/events?noun=security&limit=200", nil, "Accept-Language: "+language).want(t, 200).body)
		if !strings.Contains(text, carol.name+want) {
			t.Errorf("in %s nothing is told as %q: %s", language, want, text)
		}
	}
	for _, e := range pages[entry](t, bob.on(later), "/api/audit/events?type=security.access_denied&text="+hidden.ID.String(), 1) {
		if data := must(json.Marshal(e.Data)); strings.Contains(string(data), absent) != (e.About.Noun == "security") || e.Who.Name != carol.name || e.About.Noun == "task" && e.About.Title != "Pay rises" {
			t.Errorf("%+v", e)
		}
	}
	for _, e := range pages[entry](t, bob.on(later), "/api/audit/events?type=security.login_failed", 1) {
		if e.Meta.IP != "127.0.0.1" {
			t.Errorf("%+v", e)
		}
	}
	if other := eve.on(later).incidents(t, nil); len(other) != 1 || !strings.Contains(other[0], "get-task") {
		t.Errorf("the other workspace has %s", other)
	}
}

// Who may not read the log learns nothing of what it tells: each history and list is as it was, also in the eyes of those of another workspace.
func TestIncidentsAreSeenByAuditorsAlone(t *testing.T) {
	t.Parallel()
	p := watched(t, 1)
	ada := p[0].signUp(t)
	carol := ada.member(t, "manager")
	task := ada.newTask(t)
	before := string(carol.call(t, "GET", taskPath(task, "history"), nil).want(t, 200).body)
	viewer := ada.member(t, "viewer")
	viewer.call(t, "DELETE", taskPath(task), nil).problem(t, 403, "forbidden")
	p[0].commands.Wait()
	if n := len(ada.incidents(t, nil)); n != 1 {
		t.Fatalf("%d incidents", n)
	}
	if after := string(carol.call(t, "GET", taskPath(task, "history"), nil).want(t, 200).body); after != before {
		t.Errorf("the history is %s", after)
	}
	for _, path := range []string{"/api/audit/events?noun=security", "/api/audit/events?stream=security", "/api/audit/replay"} {
		carol.call(t, "GET", path, nil).problem(t, 403, "forbidden")
		if a := p[0].signUp(t).call(t, "GET", path, nil).want(t, 200); strings.Contains(string(a.body), viewer.id.String()) {
			t.Errorf("%s shows another workspace %s", path, a.body)
		}
	}
}

// Of ten thousand refusals of many callers in two processes the log has a bounded number of events, and each is counted, also those that came
// while the database was away.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	p := watched(t, 2)
	ada := p[0].signUp(t)
	people := []*client{ada.member(t, "viewer"), ada.member(t, "viewer")}
	o := newOutage(t, p[0].site)
	const each = 50
	flood := func() {
		parallel(4, func(i int) {
			for range each {
				people[i%2].on(p[i/2]).call(t, "POST", "/api/tags", object{"name": "x"}).problem(t, 403, "forbidden")
			}
		})
	}
	flood()
	o.reconfigure(t, `allow_connections false`)
	for _, q := range p {
		q.commands.Wait() // it records nothing now, and loses nothing
		q.log.forget("were not recorded")
	}
	o.reconfigure(t, `allow_connections true`)
	flood()
	for _, q := range p {
		q.stop()
	}
	last := p[0].site.newProcess(t, false)
	n, events := 0, 0
	for _, r := range ada.on(last).log(t) {
		if r.Type != "security.access_denied" {
			continue
		}
		events++
		n += must(domain.Decode(r.Type, r.Data)).(domain.SecurityAccessDenied).Count
	}
	if n != 8*each || events > 12 {
		t.Errorf("%d events count %d refusals, and there were %d", events, n, 8*each)
	}
	ada.on(last).judge(t)
}
