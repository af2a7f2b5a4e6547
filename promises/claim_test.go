package promises

import (
	"fmt"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// A process answers for the caller that it knew, and finds out on the way whether that is still so. Whatever ended or changed at
// another process a moment ago, nothing is shown, stored or explained for the caller of then.
func TestWhoAsksIsNeverOfYesterday(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, ada, bob *client)
		status int // of what bob asks afterwards
		code   string
	}{
		"the session was ended": {func(t *testing.T, _, bob *client) { bob.call(t, "POST", "/api/logout", nil).want(t, 204) }, 401, "unauthenticated"},
		"the member was removed": {func(t *testing.T, ada, bob *client) {
			ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
		}, 401, "unauthenticated"},
		"the member was deactivated": {func(t *testing.T, ada, bob *client) {
			ada.call(t, "POST", "/api/members/"+bob.id.String()+"/deactivate", nil).want(t, 200)
		}, 401, "unauthenticated"},
		"the policy asks two factors": {func(t *testing.T, ada, _ *client) {
			ada.enrol(t)
			ada.require(t, "all")
		}, 403, "two_factor_required"},
		"the role grants less": {func(t *testing.T, ada, bob *client) {
			ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": ada.newRole(t, grant(domain.ReadTag, domain.All)).ID}).want(t, 200)
		}, 403, "forbidden"},
	} {
		for _, background := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", background ", background), func(t *testing.T) {
				t.Parallel()
				p := newProcesses(t, 2, background)
				ada := p[0].signUp(t)
				bob := ada.member(t, "member")
				task := bob.newTask(t)
				known := bob.on(p[1])
				for range 2 {
					known.call(t, "GET", taskPath(task), nil).want(t, 200)
					known.newTask(t)
				}
				n := ada.count(t, "task.created")
				c.change(t, ada, bob)
				for _, ask := range []struct {
					method, path string
					body         any
				}{
					{"POST", "/api/tasks", object{"title": "x"}},
					{"GET", taskPath(task), nil},
					{"GET", "/api/tasks", nil},
					{"GET", "/api/tasks?sort=none", nil}, // what is wrong with it is not told either
					{"POST", "/api/tasks", object{"titel": "x"}},
					{"POST", taskPath(task) + "/complete", nil},
				} {
					known.call(t, ask.method, ask.path, ask.body).problem(t, c.status, c.code)
				}
				if now := ada.count(t, "task.created"); now != n {
					t.Errorf("%d tasks were made afterwards", now-n)
				}
				ada.judge(t)
			})
		}
	}
}

// A scope that became narrower, and one that became wider, count at once, at the process that knew the other.
func TestScopeOfWhoAsksIsNeverOfYesterday(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	known, script := bob.on(p[1]), bob.on(p[1])
	script, _ = script.newToken(t, grant(domain.ReadTask, domain.All))
	theirs := ada.newTask(t)
	wide, narrow := ada.newRole(t, over(domain.All, domain.ReadTask)...), ada.newRole(t, over(domain.Own, domain.ReadTask)...)
	for range 3 {
		for role, status := range map[string]int{wide.ID: 200, narrow.ID: 404} {
			ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": role}).want(t, 200)
			known.call(t, "GET", taskPath(theirs), nil).want(t, status)
			script.call(t, "GET", taskPath(theirs), nil).want(t, status)
			known.call(t, "GET", "/api/sessions", nil).want(t, 200)
			known.call(t, "GET", taskPath(theirs), nil).want(t, status)
		}
	}
}
