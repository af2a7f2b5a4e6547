package promises

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// A decision that relied on another thing than the one that it changes falls with it: one after the other on stale
// read models, and both at the same instant in two processes.
func TestDecisionsRelyOnOtherThings(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	x := p[0].newTenant(t)
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	for name, n := range nouns {
		if len(n.races) == 0 && n.reliesOnOthers() {
			t.Errorf("the operations of %s name other things, and promises/%s.go brings no races", name, name)
		}
		for what, race := range n.races {
			for round := range rounds {
				one, other := race(t, x)
				x.call(t, "GET", "/api/tasks", nil).want(t, 200) // fresh until here
				x.run(t, fmt.Sprint(name, ", ", what), p, round, one, other)
				x.call(t, "POST", "/api/members/"+x.other.id.String()+"/reactivate", nil).want(t, 200)
			}
		}
	}
	x.judge(t)
	x.noDrift(t)
}

// run sends two requests of a race: one after the other, or both at once.
func (x *tenant) run(t *testing.T, what string, p []*process, round int, one, other request) {
	t.Helper()
	wrong := func(a reply) bool { return a.status != 404 && a.status != 409 && a.status != 422 }
	if round%2 == 0 {
		if got := one.send(t, x.client); got.status/100 != 2 {
			t.Fatalf("%s: %d %s", what, got.status, got.body)
		}
		if got := other.send(t, x.on(p[round/2%2])); wrong(got) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		return
	}
	answers := make([]reply, 2)
	parallel(2, func(i int) { answers[i] = []request{one, other}[i].send(t, x.on(p[i])) })
	for _, got := range answers {
		if got.status/100 != 2 && wrong(got) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
}

// reliesOnOthers tells whether a noun has operations that name things besides the one that they are about.
func (n noun) reliesOnOthers() bool {
	for _, op := range schema().operations {
		segments := strings.Split(op.path, "/")
		if op.method == "GET" || op.public() || namedInPath(segments[2]) != n.name {
			continue
		}
		if strings.Count(op.path, "{") > 1 {
			return true
		}
		if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
			continue
		}
		for _, field := range op.bodySchema().Properties {
			if s := field.Value; s.Format == "uuid" || s.Items != nil && s.Items.Value.Format == "uuid" {
				return true
			}
		}
	}
	return false
}

// 16 racers want one address, at once in two processes: one is invited.
func TestOneInvitationPerAddress(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		address := "p" + uuid.NewString()[:13] + "@people.example"
		answers := make([]reply, 16)
		parallel(len(answers), func(i int) {
			answers[i] = ada.on(p[i%2]).call(t, "POST", "/api/members", object{"email": address, "full_name": "n", "role": "viewer"})
		})
		invited := 0
		for _, a := range answers {
			if a.status == 201 {
				invited++
			} else {
				a.problem(t, 409, "email_taken")
			}
		}
		if invited != 1 {
			t.Fatalf("%d of 16 were invited", invited)
		}
	}
	if n := len(pages[member](t, ada, "/api/members", 200)); n != rounds+1 {
		t.Errorf("%d members", n)
	}
	ada.judge(t)
	ada.noDrift(t)
}
