package promises

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

type policy struct {
	TwoFactorRoles []string `json:"two_factor_roles"`
	UpdatedAt      *string  `json:"updated_at"`
	Version        int
}

func (c *client) require(t tester, roles ...string) reply {
	t.Helper()
	return c.call(t, "PATCH", "/api/policy", object{"two_factor_roles": append([]string{}, roles...), "password": c.password}).want(t, 200)
}

func TestPolicyOverHTTP(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	ada.enrol(t)
	viewer := ada.member(t, "viewer")
	a := ada.call(t, "GET", "/api/policy", nil).want(t, 200)
	if got := decode[policy](t, a); got.TwoFactorRoles == nil || len(got.TwoFactorRoles) != 0 || got.UpdatedAt != nil || a.header.Get("ETag") != "" {
		t.Errorf("before anybody changed it: %s", a.body)
	}
	viewer.call(t, "PATCH", "/api/policy", object{"two_factor_roles": []string{}}).problem(t, 403, "forbidden")
	head := ada.head(t)
	if n := ada.require(t).position(t); n != head {
		t.Errorf("nothing changed, and position %d", n)
	}
	ada.call(t, "PATCH", "/api/policy", object{}).want(t, 200)
	for _, body := range []string{`{"two_factor_roles":null}`, `{"two_factor_roles":"all"}`, `{"two_factor_roles":[null]}`, `{"two_factor_roles":["nobody"]}`,
		`{"two_factor_roles":["all","admin"]}`, `{"two_factor_roles":["admin","admin"]}`, `{"two_factor_roles":["Admin"]}`, `{"roles":[]}`} {
		ada.call(t, "PATCH", "/api/policy", body).want(t, 422)
	}
	first := ada.require(t, "manager", "admin")
	tag := first.header.Get("ETag")
	shown := viewer.on(p[1]).call(t, "GET", "/api/policy", nil).want(t, 200)
	if got := decode[policy](t, shown); fmt.Sprint(got.TwoFactorRoles) != "[admin manager]" || got.UpdatedAt == nil || shown.header.Get("ETag") != tag || shown.position(t) < first.position(t) {
		t.Errorf("%s, %v", shown.body, shown.header)
	}
	answers := make([]reply, 20)
	parallel(len(answers), func(i int) {
		answers[i] = ada.on(p[i%2]).call(t, "PATCH", "/api/policy", object{"two_factor_roles": [][]string{{"admin"}, {"auditor"}}[i%2], "password": ada.password}, "If-Match: "+tag)
	})
	won := 0
	for _, a := range answers {
		if a.status == 200 {
			won++
		} else {
			a.problem(t, 412, "stale")
		}
	}
	if won != 1 || ada.count(t, "policy.two_factor_required") != 2 {
		t.Errorf("%d of 20 won", won)
	}
	ada.judge(t)
	ada.noDrift(t)
}

// What the policy asks is asked of the next request, at every process, with and without the background, of a session as
// of an API token: all that needs a permission is refused, and only that.
func TestPolicyActsOnTheNextRequest(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, 2, background)
			ada := p[0].signUp(t)
			ada.enrol(t)
			bob, eve := ada.member(t, "admin"), ada.member(t, "member")
			script, _ := bob.newToken(t)
			for round := range 4 {
				ada.require(t)
				script.on(p[1]).call(t, "GET", "/api/tasks", nil).want(t, 200)
				bob.newTask(t)
				ada.on(p[round%2]).require(t, []string{"admin", "all"}[round/2])
				for _, c := range []*client{bob.on(p[1-round%2]), script.on(p[round%2]), bob.on(p[round%2])} {
					c.call(t, "POST", "/api/tasks", object{"title": "x"}).problem(t, 403, "two_factor_required")
					c.call(t, "GET", "/api/tasks", nil).problem(t, 403, "two_factor_required")
					if enabled, required := c.twoFactor(t); enabled || !required {
						t.Error("GET /api/me does not say so")
					}
				}
				if got := eve.call(t, "GET", "/api/tasks", nil); got.status == 200 != (round/2 == 0) {
					t.Errorf("of another role: %d", got.status)
				}
			}
			bob.everyOperation(t)
			script.everyOperation(t)
			bob.enter(t, bob.logIn(t, bob.password).want(t, 200)) // a login works, and what it opens is no more
			bob.call(t, "GET", "/api/workspace", nil).problem(t, 403, "two_factor_required")
			d := bob.enrol(t)
			bob.newTask(t)
			script.on(p[1]).newTask(t) // the member has two factors: the token may again
			bob.call(t, "POST", "/api/me/two-factor/disable", object{"password": bob.password, "code": d.recovery[0]}).problem(t, 409, "two_factor_required")
			ada.judge(t)
			ada.noDrift(t)
		})
	}
}

// everyOperation asks for each operation as somebody who must enrol.
func (c *client) everyOperation(t *testing.T) {
	t.Helper()
	for _, op := range schema().operations {
		if op.rule() == "public" || op.id == "log-out" {
			continue
		}
		a := c.call(t, op.method, op.target(), nil)
		switch {
		case op.rule() != "signed_in" && (a.status != 403 || a.outcome(t) != "two_factor_required" && a.outcome(t) != "session_required"):
			t.Errorf("%s: %d %.200s", op.id, a.status, a.body)
		case op.rule() == "signed_in" && (a.status == 401 || a.status == 403 && a.outcome(t) != "session_required"):
			t.Errorf("%s: %d %.200s", op.id, a.status, a.body)
		}
	}
	if strings.HasPrefix(c.token, "kls_") {
		c.call(t, "POST", "/api/tokens", object{"name": "x", "expires_at": tomorrow}).problem(t, 403, "two_factor_required")
	}
}

// An API token shows no second factor, so it takes none away.
func TestTokensLeaveTwoFactorsAlone(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	bob.enrol(t)
	script, _ := ada.newToken(t)
	script.call(t, "PATCH", "/api/policy", object{"two_factor_roles": []string{}}).problem(t, 403, "session_required")
	script.call(t, "DELETE", "/api/members/"+bob.id.String()+"/two-factor", nil).problem(t, 403, "session_required")
	if enabled, _ := bob.twoFactor(t); !enabled {
		t.Error("they are off")
	}
}

// What is under way when the policy changes has its place in the log before it, or none.
func TestNothingAfterThePolicy(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	ada.enrol(t)
	for round := range 4 {
		ada.require(t)
		h := &hammer{victim: ada.member(t, "manager"), task: ada.newTask(t)}
		var running sync.WaitGroup
		for i := range 8 {
			running.Go(func() { h.run(t, h.victim.on(p[i%2]), i) })
		}
		h.reaches(25)
		taken := ada.on(p[round%2]).require(t, "manager").position(t)
		h.removed.Store(true)
		h.reaches(h.count() + 40)
		h.over.Store(true)
		running.Wait()
		for _, a := range h.attempts {
			if a.after && (a.status != 403 || a.outcome(t) != "two_factor_required") {
				t.Errorf("%s: %d %.200s", a.what, a.status, a.body)
			}
		}
		for _, r := range ada.log(t)[taken:] {
			if r.Actor != nil && *r.Actor == h.victim.id {
				t.Errorf("%s at position %d, and the policy is at %d", r.Type, r.Position, taken)
			}
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}

// Who follows the log is cut off when the policy asks for what they do not have.
func TestPolicyCutsOffWhoFollows(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	ada.enrol(t)
	bob := ada.member(t, "auditor")
	script, _ := bob.newToken(t)
	var all []*follower
	for i, c := range []*client{bob, script} {
		f := c.on(p[i]).follow(t, 1)
		f.reaches(t, ada.head(t))
		all = append(all, f)
	}
	taken := ada.require(t, "auditor").position(t)
	for range 5 {
		ada.newTask(t)
	}
	for _, f := range all {
		select {
		case <-f.ended:
		case <-time.After(patience):
			t.Fatal("still following")
		}
		if f.last() > taken {
			t.Errorf("shown position %d, and the policy is at %d", f.last(), taken)
		}
	}
}

// A rebuild leaves the policy as it is, before, while and after the tables change places.
func TestPolicyOutlivesARebuild(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	ada.enrol(t)
	bob := ada.member(t, "manager")
	ada.require(t, "viewer")
	ada.require(t, "manager", "auditor")
	before := ada.call(t, "GET", "/api/policy", nil).want(t, 200)
	done := make(chan struct{})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					bob.on(p[i%2]).call(t, "GET", "/api/tasks", nil).problem(t, 403, "two_factor_required")
				}
			}
		})
	}
	for i := range 6 {
		if _, err := p[i%2].projections.Rebuild(context.Background(), ada.workspace, nil); err != nil {
			t.Error(err)
		}
	}
	close(done)
	running.Wait()
	after := ada.call(t, "GET", "/api/policy", nil).want(t, 200)
	if string(before.body) != string(after.body) || before.header.Get("ETag") != after.header.Get("ETag") {
		t.Errorf("%s, and before %s", after.body, before.body)
	}
	ada.noDrift(t)
	if got := decode[policy](t, after).TwoFactorRoles; !slices.Equal(got, []string{"auditor", "manager"}) {
		t.Errorf("%q", got)
	}
}
