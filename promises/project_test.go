package promises

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func TestLifeOfAProject(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob, eve := ada.member(t, "member"), ada.member(t, "viewer")
	w := &walk{ada, t, ada.head(t)}
	is := func(a reply, version int, check func(domain.Project) bool) apiProject {
		t.Helper()
		made := decode[apiProject](t, a)
		if made.Version != version || a.header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(version)) || !check(made.Project) {
			t.Fatalf("%s: ETag %s, %s", a.what, a.header.Get("ETag"), a.body)
		}
		got := ada.call(t, "GET", made.path(), nil).want(t, 200)
		shown := strings.Replace(string(got.body), `,"spent_minutes":0,"spent_cents":0`, "", 1) // which a command does not add up
		if diff := cmp.Diff(string(a.body), shown); diff != "" || got.header.Get("ETag") != a.header.Get("ETag") {
			t.Fatalf("%s: GET answers otherwise: %s", a.what, diff)
		}
		return made
	}
	web := is(w.step("POST", "/api/projects", object{"key": "WEB", "name": "Website", "lead_id": bob.id, "budget_minutes": 600, "budget_cents": 1_000_000_000_000,
		"hourly_rate_cents": 0}, 201, 2), 1, func(p domain.Project) bool {
		return p.Key == "WEB" && p.Name == "Website" && p.Status == "active" && *p.LeadID == bob.id && *p.BudgetMinutes == 600 &&
			*p.BudgetCents == 1_000_000_000_000 && *p.HourlyRateCents == 0 && len(p.MemberIDs) == 0 && p.CreatedBy == ada.id
	})
	at := web.path()
	is(w.step("PATCH", at, object{"name": "Site", "lead_id": nil, "budget_minutes": nil}, 200, 1), 2, func(p domain.Project) bool {
		return p.Name == "Site" && p.LeadID == nil && p.BudgetMinutes == nil && p.BudgetCents != nil
	})
	w.step("PATCH", at, object{"name": "Site", "status": "active"}, 200, 0)
	is(w.step("PATCH", at, object{"status": "archived"}, 200, 1), 3, func(p domain.Project) bool { return p.Status == "archived" })
	is(w.step("PATCH", at, object{"status": "active", "name": "Again"}, 200, 2), 5, func(p domain.Project) bool { return p.Status == "active" && p.Name == "Again" })
	w.call(t, "PATCH", at, object{"key": "NEW"}).problem(t, 422, "invalid")
	w.call(t, "PATCH", at, object{"name": "x"}, `If-Match: "4"`).problem(t, 412, "stale")
	eve.call(t, "GET", at, nil).problem(t, 404, "project_not_found")
	for _, who := range []*client{bob, eve} {
		w.step("PUT", web.path("members", who.id), nil, 204, 1)
		w.step("PUT", web.path("members", who.id), nil, 204, 0)
	}
	eve.call(t, "GET", at, nil).want(t, 200)
	if listed := pages[domain.Project](t, eve, "/api/projects", 50); len(listed) != 1 || len(listed[0].MemberIDs) != 2 {
		t.Errorf("a member of the project is shown %+v", listed)
	}
	w.step("DELETE", web.path("members", eve.id), nil, 204, 1)
	w.step("DELETE", web.path("members", eve.id), nil, 204, 0)
	eve.call(t, "GET", at, nil).problem(t, 404, "project_not_found")
	w.call(t, "PUT", web.path("members", uuid.New()), nil).problem(t, 404, "member_not_found")
	for _, refused := range []reply{bob.call(t, "PATCH", at, object{"name": "x"}), bob.call(t, "POST", "/api/projects", object{"key": "BOB", "name": "x"}),
		bob.call(t, "PUT", web.path("members", bob.id), nil), bob.call(t, "DELETE", at, nil)} {
		refused.problem(t, 403, "forbidden")
	}
	old := ada.newProject(t, object{"status": "archived"})
	for query, want := range map[string][]uuid.UUID{"": {old.ID, web.ID}, "?status=active": {web.ID}, "?status=archived": {old.ID}} {
		var got []uuid.UUID
		for _, p := range pages[domain.Project](t, bob, "/api/projects"+query, 1) {
			got = append(got, p.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", query, diff)
		}
	}
	w.last = ada.head(t)
	w.step("DELETE", at, nil, 204, 1)
	for _, method := range []string{"GET", "DELETE"} {
		w.call(t, method, at, nil).problem(t, 404, "project_not_found")
	}
	w.call(t, "PATCH", at, object{"status": "active"}).problem(t, 404, "project_not_found")
	w.call(t, "POST", "/api/projects", object{"key": "WEB", "name": "Another"}).problem(t, 409, "key_taken")
	events := types(ada.story(t, web.path()))
	if len(events) != 9 || events[0] != "project.created" || events[8] != "project.deleted" {
		t.Errorf("%+v", events)
	}
	ada.judge(t)
	ada.noDrift(t)
}

func TestProjectsThatAreRefused(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	off := ada.member(t, "member")
	ada.call(t, "POST", "/api/members/"+off.id.String()+"/deactivate", nil).want(t, 200)
	at := ada.newProject(t).path()
	head := ada.head(t)
	for _, key := range []string{"", "W", "web", "Web", "WEB1", "WEB-1", "ABCDEFGHIJK", "ÉÉ", "WEB ", "ΑΒΓ", "WE\nB"} {
		ada.call(t, "POST", "/api/projects", object{"key": key, "name": "x"}).refusedAs(t, key, 422, "/key")
	}
	for field, values := range map[string][]any{"lead_id": {off.id, uuid.New()}, "budget_minutes": {-1, 100_000_001}, "budget_cents": {-1, 1_000_000_000_001, 0.5},
		"hourly_rate_cents": {-1}, "status": {"done"}, "name": {"", " ", "\u200b"}} {
		for _, value := range values {
			body := object{"key": "WEB", "name": "x"}
			body[field] = value
			ada.call(t, "POST", "/api/projects", body).refusedAs(t, fmt.Sprint(field, value), 422, "/"+field)
			ada.call(t, "PATCH", at, object{field: value}).refusedAs(t, fmt.Sprint(field, value), 422, "/"+field)
		}
	}
	ada.call(t, "PUT", at+"/members/"+off.id.String(), nil).problem(t, 404, "member_not_found")
	if ada.head(t) != head {
		t.Error("something was stored")
	}
}

// Of sixteen who want one key at once, over two processes, one has it.
func TestOneProjectHasAKey(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	for _, key := range []string{"WEB", "APP"} {
		answers := make([]reply, 16)
		parallel(len(answers), func(i int) {
			answers[i] = ada.on(p[i%2]).call(t, "POST", "/api/projects", object{"key": key, "name": fmt.Sprint(i)})
		})
		made := 0
		for _, a := range answers {
			if a.status == 201 {
				made++
				continue
			}
			a.problem(t, 409, "key_taken")
		}
		if made != 1 {
			t.Errorf("%d projects have the key %s", made, key)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}
