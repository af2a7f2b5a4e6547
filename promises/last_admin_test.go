package promises

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// stepDown are the ways in which an admin stops being one, by themselves or by another.
var stepDown = []struct {
	name string
	do   func(t tester, by *client, whom uuid.UUID) reply
}{
	{"demote", func(t tester, by *client, whom uuid.UUID) reply {
		return by.call(t, "PATCH", "/api/members/"+whom.String(), object{"role": "member"})
	}},
	{"deactivate", func(t tester, by *client, whom uuid.UUID) reply {
		return by.call(t, "POST", "/api/members/"+whom.String()+"/deactivate", nil)
	}},
	{"delete", func(t tester, by *client, whom uuid.UUID) reply {
		return by.call(t, "DELETE", "/api/members/"+whom.String(), nil)
	}},
}

// Two admins remove each other, or themselves, at the same instant on two processes, in all pairs of ways.
func TestTwoAdminsStepDownAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := []*process{s.newProcess(t, true), s.newProcess(t, false)}
	first := p[0].signUp(t)
	admins := []*client{first, first.member(t, "admin").on(p[1])}
	rounds := 108 // of 36 pairs
	if testing.Short() {
		rounds = 36
	}
	outcomes := map[string]int{}
	for round := range rounds {
		pair := round % 36
		ways := []int{pair / 2 % 3, pair / 6 % 3}
		targets := []int{1 - pair%2, pair / 18} // the other for 1 and 0, oneself for 0 and 1
		answers := make([]reply, 2)
		parallel(2, func(i int) { answers[i] = stepDown[ways[i]].do(t, admins[i], admins[targets[i]].id) })
		for i, a := range answers {
			outcomes[a.outcome(t)]++
			last := a.status == 409 && decode[problem](t, a).Code == "last_admin"
			lost := a.status == 401 || a.status == 403 || a.status == 404 && targets[0] == targets[1]
			if a.status/100 != 2 && !last && !lost {
				t.Fatalf("round %d: %s by %d of %d: %d %s", round, stepDown[ways[i]].name, i, targets[i], a.status, a.body)
			}
		}
		if answers[0].status/100 != 2 && answers[1].status/100 != 2 {
			t.Fatalf("round %d: nobody succeeded: %s; %s", round, answers[0].body, answers[1].body)
		}
		admins = restoreAdmins(t, admins)
	}
	t.Log(outcomes)
	first.judge(t)
	first.noDrift(t)
}

func (a reply) outcome(t tester) string {
	if a.status/100 == 2 {
		return "done"
	}
	return decode[problem](t, a).Code
}

// restoreAdmins makes sure that there are two again. The one who is left does it; invitations at the first
// process, which has the background that mails them.
func restoreAdmins(t *testing.T, admins []*client) []*client {
	t.Helper()
	for i, c := range admins {
		if a := c.call(t, "GET", "/api/me", nil); a.status != 200 || decode[struct{ Member member }](t, a).Member.Role != "admin" {
			continue
		}
		other := admins[1-i]
		at := "/api/members/" + other.id.String()
		a := c.call(t, "POST", at+"/reactivate", nil)
		if a.status == 404 {
			admins[1-i] = c.on(admins[0].process).member(t, "admin").on(other.process)
			return admins
		}
		a.want(t, 200)
		c.call(t, "PATCH", at, object{"role": "admin"}).want(t, 200)
		other.enter(t, other.logIn(t, other.password).want(t, 200)) // what ended with the deactivation has ended
		return admins
	}
	t.Fatal("nobody is admin")
	return nil
}

// Many admins at once, in a free for all.
func TestManyAdminsStepDownAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	first := p[0].signUp(t)
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		admins := []*client{first}
		for range 4 {
			admins = append(admins, first.member(t, "admin"))
		}
		left := make([]bool, len(admins))
		parallel(len(admins), func(i int) {
			order := rand.Perm(len(admins))
			for _, other := range order {
				if a := stepDown[(round+i)%3].do(t, admins[i].on(p[i%2]), admins[other].id); a.status >= 500 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			a := admins[i].on(p[i%2]).call(t, "GET", "/api/me", nil)
			left[i] = a.status == 200 && decode[struct{ Role domain.Role }](t, a).Role.Name == "admin"
		})
		first.judge(t)
		for i := range left {
			if left[i] { // may have lost it meanwhile to one who was later; the next round's invitations tell
				first = admins[i]
			}
		}
	}
}

// Invited and deactivated admins do not count.
func TestLastAdmin(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	invited := ada.invite(t, "admin")
	off := ada.member(t, "admin")
	demoted := ada.member(t, "admin")
	ada.call(t, "POST", "/api/members/"+off.id.String()+"/deactivate", nil).want(t, 200)
	ada.call(t, "PATCH", "/api/members/"+demoted.id.String(), object{"role": "manager"}).want(t, 200)
	off.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	head := ada.head(t)
	for i, way := range stepDown {
		way.do(t, ada.on(p[i%2]), ada.id).problem(t, 409, "last_admin")
	}
	if ada.head(t) != head {
		t.Error("a refused command stored something")
	}
	me := decode[struct{ Member member }](t, ada.call(t, "GET", "/api/me", nil).want(t, 200)).Member
	if me.Role != "admin" || me.Status != "active" {
		t.Errorf("%+v", me)
	}
	ada.call(t, "PATCH", "/api/members/"+ada.id.String(), object{"role": "admin"}).want(t, 200) // what is so may stay
	invited.enter(t, invited.accept(t, ada.invitationCode(t, invited), invited.password).want(t, 201))
	stepDown[0].do(t, ada, ada.id).want(t, 200)
	ada.call(t, "PATCH", "/api/members/"+ada.id.String(), object{"role": "admin"}).problem(t, 403, "forbidden")
	for _, way := range stepDown {
		way.do(t, invited, invited.id).problem(t, 409, "last_admin")
	}
	invited.call(t, "POST", fmt.Sprintf("/api/members/%s/reactivate", off.id), nil).want(t, 200)
	stepDown[2].do(t, invited, invited.id).want(t, 204)
	invited.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	off.call(t, "GET", "/api/members", nil).problem(t, 401, "unauthenticated")
	off.enter(t, off.logIn(t, off.password).want(t, 200))
	off.call(t, "GET", "/api/members", nil).want(t, 200)
	off.judge(t)
	off.noDrift(t)
}
