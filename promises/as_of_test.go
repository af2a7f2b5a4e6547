package promises

import (
	"encoding/json"
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
	ada.call(t, "GET", "/api/members?as_of=yesterday", nil).problem(t, 422, "invalid")
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
	if diff := cmp.Diff([]string{"member.invited role:" + role.ID + " status:invited language:en", "member.joined status:active", "member.role_changed role:viewer", "member.rate_changed hourly_rate_cents:987654", "member.removed status:removed"},
		story("/api/members/"+bob.id.String())); diff != "" {
		t.Error(diff)
	}
	if admin := story("/api/roles/admin"); admin != nil {
		t.Errorf("a built-in role has a history: %v", admin)
	}
	ada.call(t, "GET", "/api/roles/"+uuid.NewString()+"/history", nil).problem(t, 404, "role_not_found")
}
