package promises

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func asOf(at time.Time) string { return "as_of=" + url.QueryEscape(at.Format(time.RFC3339Nano)) }

// The members and the roles of any moment are those that the lists showed then, whatever became of them.
func TestRosterAsOf(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	lists := []string{"/api/members", "/api/roles"}
	type moment struct {
		at    time.Time
		lists [2]string // what they answered
	}
	var moments []moment
	look := func() {
		records := ada.log(t)
		m := moment{at: records[len(records)-1].At}
		for i, path := range lists {
			m.lists[i] = string(ada.call(t, "GET", path, nil).want(t, 200).body)
		}
		moments = append(moments, m)
	}
	look()
	role := ada.newRole(t, over(domain.All, domain.ReadTask)...)
	look()
	bob := ada.member(t, role.ID)
	look()
	other := ada.newRole(t)
	ada.call(t, "PATCH", rolePath(role), object{"name": "Renamed"}).want(t, 200)
	look()
	for _, step := range []request{
		{"PATCH", rolePath(role), object{"grants": over(domain.Own, domain.ReadTask, domain.UpdateTask)}},
		{"POST", "/api/members/" + bob.id.String() + "/deactivate", nil},
		{"PATCH", "/api/members/" + bob.id.String(), object{"role": "viewer"}},
		{"DELETE", rolePath(role), nil},
		{"POST", "/api/members/" + bob.id.String() + "/reactivate", nil},
		{"DELETE", "/api/members/" + bob.id.String(), nil},
		{"DELETE", rolePath(other), nil},
	} {
		if a := step.send(t, ada); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", a.what, a.status, a.body)
		}
		look()
	}
	for n, m := range moments {
		for i, path := range lists {
			if diff := cmp.Diff(m.lists[i], string(ada.call(t, "GET", path+"?"+asOf(m.at), nil).want(t, 200).body)); diff != "" {
				t.Errorf("%s after %d steps: %s", path, n, diff)
			}
		}
	}
	was := moments[3].at
	if then := decode[apiRole](t, ada.call(t, "GET", rolePath(role)+"?"+asOf(was), nil).want(t, 200)); then.Name != "Renamed" || !slices.Equal(then.Grants, over(domain.All, domain.ReadTask)) {
		t.Errorf("the role was %+v", then)
	}
	if then := decode[struct{ Role, Status string }](t, ada.call(t, "GET", "/api/members/"+bob.id.String()+"?"+asOf(was), nil).want(t, 200)); then.Role != role.ID || then.Status != "active" {
		t.Errorf("the member was %+v", then)
	}
	ada.call(t, "GET", rolePath(role)+"?"+asOf(moments[0].at), nil).problem(t, 404, "role_not_found")
	ada.call(t, "GET", rolePath(role)+"?"+asOf(moments[len(moments)-1].at), nil).problem(t, 404, "role_not_found")
	for _, wrong := range []string{"yesterday", "2026-08-01T10:00:00%2B24:00", "2026-08-01T8:00:00Z", "2026-08-01T10:00:00,5Z", "2026-08-01"} {
		ada.call(t, "GET", "/api/members?as_of="+wrong, nil).problem(t, 422, "invalid")
	}
	for limit := range 3 {
		var got []string
		for _, m := range pages[struct{ ID string }](t, ada, "/api/members?"+asOf(was), limit+1) {
			got = append(got, m.ID)
		}
		if diff := cmp.Diff([]string{bob.id.String(), ada.id.String()}, got); diff != "" {
			t.Errorf("%d at a time: %s", limit+1, diff)
		}
	}
}

// A history says who changed what, also of a role that is deleted and of a member who has left, and nothing about the person.
func TestHistoryOfTheRoster(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	role := ada.newRole(t, over(domain.All, domain.ReadTask)...)
	bob := ada.member(t, role.ID)
	ada.call(t, "PATCH", rolePath(role), object{"name": "Renamed", "grants": []domain.Grant{}}).want(t, 200)
	ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "viewer"}).want(t, 200)
	ada.call(t, "DELETE", rolePath(role), nil).want(t, 204)
	ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"hourly_rate_cents": 987_654}).want(t, 200)
	for who, shown := range map[*client]bool{ada.member(t, "manager"): false, ada: true} {
		if a := who.call(t, "GET", "/api/members/"+bob.id.String()+"/history", nil).want(t, 200); strings.Contains(string(a.body), "987654") != shown {
			t.Errorf("the rate is shown, or not: %s", a.body)
		}
	}
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	story := func(path string) (said []string) {
		t.Helper()
		lines := ada.story(t, path)
		for i, line := range lines {
			if i == 0 || line.Version != lines[i-1].Version {
				said = append(said, line.Type)
			}
			if line.Field != nil {
				var value any
				if err := json.Unmarshal(line.New, &value); err != nil {
					t.Error(err)
				}
				said[len(said)-1] += fmt.Sprintf(" %s:%v", *line.Field, value)
			}
		}
		return said
	}
	grants := `[map[action:read resource:task scope:all]]`
	if diff := cmp.Diff([]string{"role.created name:" + role.Name + " grants:" + grants, "role.renamed name:Renamed", "role.grants_changed grants:[]"}, story(rolePath(role))[:3]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"member.invited role:Renamed status:invited language:en", "member.joined status:active", "member.role_changed role:viewer", "member.rate_changed hourly_rate_cents:987654", "member.removed status:removed"},
		story("/api/members/"+bob.id.String())); diff != "" {
		t.Error(diff)
	}
	if admin := story("/api/roles/admin"); admin != nil {
		t.Errorf("a built-in role has a history: %v", admin)
	}
	ada.call(t, "GET", "/api/roles/"+uuid.NewString()+"/history", nil).problem(t, 404, "role_not_found")
}

// Whatever has a history is shown as it was, by itself and in its list; so are the workspace and its policy.
func TestEveryNounAsOf(t *testing.T) {
	t.Parallel()
	takes := map[string]bool{}
	for _, op := range schema().operations {
		if op.method == "GET" {
			takes[op.path] = op.Parameters.GetByInAndName("query", "as_of") != nil
		}
	}
	for path := range takes {
		if thing, is := strings.CutSuffix(path, "/history"); is {
			if list, _, _ := strings.Cut(thing, "/{"); !takes[thing] || !takes[list] && !takes["/api/tasks/{id}"+strings.TrimPrefix(list, "/api")] {
				t.Errorf("%s or its list does not take as_of", thing)
			}
		}
	}
	if !takes["/api/workspace"] || !takes["/api/policy"] {
		t.Error("the workspace or its policy does not take as_of")
	}

	x := newProcesses(t, 1, false)[0].newTenant(t)
	x.call(t, "PATCH", "/api/policy", object{"two_factor_roles": []string{}, "password": x.password})
	x.call(t, "PATCH", "/api/members/"+x.things["member"].String(), object{"role": x.things["role"]}).want(t, 200)
	x.call(t, "POST", "/api/tasks/"+x.things["task"].String()+"/comments", object{"body": "an answer", "parent_id": x.things["comment"]}).want(t, 201)
	records := x.log(t)
	was, then := x.takingAsOf(t, ""), records[len(records)-1].At
	for _, method := range []string{"PATCH", "DELETE"} {
		for _, op := range sampled(t) {
			if op.method == method && !strings.HasPrefix(op.path, "/api/workspace/") && op.id != "erase-workspace" && op.id != "revoke-token" && !strings.HasPrefix(op.path, "/api/sessions") {
				x.call(t, op.method, op.at(x.ids(t, op)), x.body(t, op))
			}
		}
	}
	for range 3 {
		x.newTask(t)
	}
	changed := 0
	for target, now := range x.takingAsOf(t, "") {
		if was[target] != now {
			changed++
		}
	}
	if changed < 15 {
		t.Errorf("only %d of %d answers have changed", changed, len(was))
	}
	x.wantNamesInStories(t)
	for target, then := range x.takingAsOf(t, "?"+asOf(then)) {
		if diff := cmp.Diff(was[target], then); diff != "" {
			t.Errorf("%s: %s", target, diff)
		}
	}
}

// unhistorical is what answers show besides what the log tells: it is null in the past, or not there.
var unhistorical = regexp.MustCompile(`,"(task_count|spent_minutes|spent_cents|delivery|counts|progress)":(\{[^{}]*(\{[^{}]*\}[^{}]*)*\}|[^,{}]+)`)

// takingAsOf is what each operation answers that takes as_of, but for what is no history.
func (x *tenant) takingAsOf(t *testing.T, query string) map[string]string {
	t.Helper()
	answers := map[string]string{}
	for _, op := range sampled(t) {
		if op.method == "GET" && op.Parameters.GetByInAndName("query", "as_of") != nil {
			target := op.at(x.ids(t, op))
			a := x.call(t, "GET", target+query, nil)
			answers[target] = unhistorical.ReplaceAllString(fmt.Sprint(a.status, " ", string(a.body)), "")
			if query != "" || a.status == 200 {
				a.want(t, 200)
			}
		}
	}
	if len(answers) < 20 {
		t.Errorf("only %d operations take as_of", len(answers))
	}
	return answers
}

// A list of the past is read in pages of any size, and goes with no filter.
func TestListAsOfInPages(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t)
	var want []string
	for range 4 {
		gone, kept := ada.newTask(t), ada.newTask(t)
		ada.call(t, "DELETE", taskPath(gone), nil).want(t, 204)
		want = append(want, kept.ID.String())
		ada.call(t, "POST", taskPath(task, "comments"), object{"body": "then"}).want(t, 201)
	}
	want = append([]string{task.ID.String()}, want...)
	slices.Reverse(want)
	records := ada.log(t)
	then := asOf(records[len(records)-1].At)
	for range 3 {
		ada.newTask(t)
		ada.call(t, "POST", taskPath(task, "comments"), object{"body": "later"}).want(t, 201)
	}
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	for limit := range 6 {
		var got []string
		for _, found := range pages[struct{ ID string }](t, ada, "/api/tasks?"+then, limit+1) {
			got = append(got, found.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d at a time: %s", limit+1, diff)
		}
		if comments := pages[struct{ Body string }](t, ada, taskPath(task, "comments")+"?"+then, limit+1); len(comments) != 4 || comments[0].Body != "then" {
			t.Errorf("%d at a time: the comments were %v", limit+1, comments)
		}
	}
	for _, more := range []string{"q=then", "sort=-updated_at", "total=true", "deleted=true", "status=open", "consistency=eventual"} {
		if p := ada.call(t, "GET", "/api/tasks?"+then+"&"+more, nil).problem(t, 422, "invalid"); len(p.Errors) != 1 || !strings.HasPrefix("/"+more, p.Errors[0].Pointer) {
			t.Errorf("%s: %+v", more, p)
		}
	}
	ada.call(t, "GET", taskPath(ada.newTask(t), "comments")+"?"+then, nil).problem(t, 404, "task_not_found")
}

// The past shows no more than the caller may see now.
func TestAsOfShowsWhatIsSeenNow(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, ada.newRole(t, over(domain.Own, domain.ReadTask, domain.ReadComment, domain.ReadAttachment)...).ID)
	task := ada.newTask(t, object{"assignee_ids": []uuid.UUID{bob.id}})
	comment := decode[domain.Comment](t, ada.call(t, "POST", taskPath(task, "comments"), object{"body": "seen"}).want(t, 201))
	then := asOf(ada.log(t)[len(ada.log(t))-1].At)
	targets := []string{taskPath(task), taskPath(task, "comments"), taskPath(task, "attachments"), "/api/comments/" + comment.ID.String()}
	for _, target := range targets {
		bob.call(t, "GET", target+"?"+then, nil).want(t, 200)
	}
	if seen := pages[domain.Task](t, bob, "/api/tasks?"+then, 50); len(seen) != 1 {
		t.Errorf("bob saw %d tasks", len(seen))
	}
	ada.call(t, "DELETE", taskPath(task, "assignees", bob.id), nil).want(t, 204)
	for _, target := range targets {
		bob.call(t, "GET", target+"?"+then, nil).want(t, 404)
	}
	if seen := pages[domain.Task](t, bob, "/api/tasks?"+then, 50); len(seen) != 0 {
		t.Errorf("bob sees %d tasks of the past", len(seen))
	}
	bob.call(t, "GET", "/api/tags?"+then, nil).want(t, 403)
}
