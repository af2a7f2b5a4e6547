package promises

import (
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// A decision that relied on another thing than the one that it changes falls with it: one after the other on stale
// read models, and both at the same instant in two processes.
func TestDecisionsRelyOnOtherThings(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	for name, pair := range map[string]func(a, b domain.Task, comment uuid.UUID) (one, other request){
		"a circle of parents": func(a, b domain.Task, _ uuid.UUID) (one, other request) {
			return request{"PATCH", taskPath(a), object{"parent_id": b.ID}}, request{"PATCH", taskPath(b), object{"parent_id": a.ID}}
		},
		"a child of what is deleted": func(a, _ domain.Task, _ uuid.UUID) (one, other request) {
			return request{"DELETE", taskPath(a), nil}, request{"POST", "/api/tasks", object{"title": "child", "parent_id": a.ID}}
		},
		"a parent that is deleted": func(a, b domain.Task, _ uuid.UUID) (one, other request) {
			return request{"DELETE", taskPath(a), nil}, request{"PATCH", taskPath(b), object{"parent_id": a.ID}}
		},
		"a comment on what is deleted": func(a, _ domain.Task, _ uuid.UUID) (one, other request) {
			return request{"DELETE", taskPath(a), nil}, request{"POST", taskPath(a, "comments"), object{"body": "late"}}
		},
		"an edit on what is deleted": func(a, _ domain.Task, comment uuid.UUID) (one, other request) {
			return request{"DELETE", taskPath(a), nil}, request{"PATCH", "/api/comments/" + comment.String(), object{"body": "late"}}
		},
		"a tag that is deleted": func(a, _ domain.Task, _ uuid.UUID) (one, other request) {
			tag := ada.newTag(t, uuid.NewString())
			return request{"DELETE", tagPath(tag), nil}, request{"PUT", taskPath(a, "tags", tag.ID), nil}
		},
		"tags of which one is merged": func(a, _ domain.Task, _ uuid.UUID) (one, other request) {
			tag, into := ada.newTag(t, uuid.NewString()), ada.newTag(t, uuid.NewString())
			return request{"POST", tagPath(tag, "merge"), object{"into": into.ID}}, request{"PATCH", taskPath(a), object{"tag_ids": []uuid.UUID{tag.ID}}}
		},
		"two merges in a circle": func(domain.Task, domain.Task, uuid.UUID) (one, other request) {
			a, b := ada.newTag(t, uuid.NewString()), ada.newTag(t, uuid.NewString())
			return request{"POST", tagPath(a, "merge"), object{"into": b.ID}}, request{"POST", tagPath(b, "merge"), object{"into": a.ID}}
		},
		"work for who is out": func(a, _ domain.Task, _ uuid.UUID) (one, other request) {
			return request{"POST", "/api/members/" + bob.id.String() + "/deactivate", nil}, request{"PUT", taskPath(a, "assignees", bob.id), nil}
		},
	} {
		for round := range rounds {
			a, b := ada.newTask(t), ada.newTask(t)
			comment := decode[domain.Comment](t, ada.call(t, "POST", taskPath(a, "comments"), object{"body": "x"}).want(t, 201)).ID
			ada.call(t, "GET", "/api/tasks", nil).want(t, 200) // fresh until here
			one, other := pair(a, b, comment)
			if round%2 == 0 {
				if got := one.send(t, ada); got.status/100 != 2 {
					t.Fatalf("%s: %d %s", name, got.status, got.body)
				}
				if got := other.send(t, ada.on(p[round/2%2])); got.status != 404 && got.status != 422 {
					t.Errorf("%s: %d %s", name, got.status, got.body)
				}
			} else {
				answers := make([]reply, 2)
				parallel(2, func(i int) { answers[i] = []request{one, other}[i].send(t, ada.on(p[i])) })
				for _, got := range answers {
					if got.status/100 != 2 && got.status != 404 && got.status != 422 {
						t.Errorf("%s: %d %s", name, got.status, got.body)
					}
				}
			}
			ada.call(t, "POST", "/api/members/"+bob.id.String()+"/reactivate", nil).want(t, 200)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}

// request is one that is still to be sent.
type request struct {
	method, target string
	body           any
}

func (r request) send(t tester, c *client) reply {
	t.Helper()
	return c.call(t, r.method, r.target, r.body)
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
