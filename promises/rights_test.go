package promises

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// over is permissions over a scope, for a token.
var manageMembers = over(domain.All, domain.ReadMember, domain.CreateMember, domain.UpdateMember, domain.DeleteMember)

// Whoever may do little more than manage members makes nobody mightier than that: neither by an invitation nor by a role.
func TestATokenMakesNobodyMightier(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	victim := ada.member(t, "viewer")
	for _, role := range domain.BuiltInRoles {
		script, _ := ada.newToken(t, slices.Concat(domain.GrantsOf("viewer"), domain.Grants(manageMembers))...)
		head := ada.head(t)
		invite := script.call(t, "POST", "/api/members", object{"email": uuid.NewString() + "@people.example", "full_name": "x", "role": role.Name})
		change := script.call(t, "PATCH", "/api/members/"+victim.id.String(), object{"role": role.Name})
		if role.Name == "viewer" { // which is less
			invite.want(t, 201)
			change.want(t, 200)
			continue
		}
		invite.problem(t, 403, "grants_exceed_role")
		change.problem(t, 403, "grants_exceed_role")
		if ada.head(t) != head {
			t.Errorf("%s: something was stored", role.Name)
		}
	}
	me := decode[struct{ Role domain.Role }](t, victim.call(t, "GET", "/api/me", nil).want(t, 200))
	if me.Role.Name != "viewer" {
		t.Errorf("the victim is %s", me.Role.Name)
	}
}

// Nobody acts on somebody who may do more, not even on the member whose token it is.
func TestNobodyActsOnTheMightier(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	script, _ := ada.newToken(t, manageMembers...)
	off := ada.member(t, "admin")
	ada.call(t, "POST", "/api/members/"+off.id.String()+"/deactivate", nil).want(t, 200)
	for _, whom := range []uuid.UUID{ada.id, off.id, ada.member(t, "manager").id, ada.invite(t, "auditor").id} {
		head := ada.head(t)
		at := "/api/members/" + whom.String()
		for what, a := range map[string]reply{
			"role":       script.call(t, "PATCH", at, object{"role": "viewer"}),
			"deactivate": script.call(t, "POST", at+"/deactivate", nil),
			"reactivate": script.call(t, "POST", at+"/reactivate", nil),
			"unlock":     script.call(t, "POST", at+"/unlock", nil),
			"remove":     script.call(t, "DELETE", at, nil),
		} {
			if a.status != 403 || a.outcome(t) != "member_mightier" && a.outcome(t) != "grants_exceed_role" {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		script.call(t, "DELETE", at+"/two-factor", nil).problem(t, 403, "session_required")
		if ada.head(t) != head {
			t.Error("something was stored")
		}
	}
}

// A scope that a resource has filters everywhere; one that it does not have is refused.
func TestNarrowScopes(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "viewer")
	for _, p := range domain.Permissions {
		body := object{"name": "x", "expires_at": tomorrow, "grants": over(domain.Own, p)}
		a := ada.call(t, "POST", "/api/tokens", body)
		if slices.Contains(domain.Scopes[p.Resource], domain.Own) {
			a.want(t, 201)
		} else {
			a.problem(t, 422, "invalid")
		}
	}
	narrow, _ := ada.newToken(t, append(over(domain.All, domain.ReadMember), over(domain.Own, domain.CreateMember, domain.UpdateMember, domain.DeleteMember)...)...)
	at := "/api/members/" + bob.id.String()
	head := ada.head(t)
	for what, a := range map[string]reply{
		"role":       narrow.call(t, "PATCH", at, object{"role": "viewer"}),
		"deactivate": narrow.call(t, "POST", at+"/deactivate", nil),
		"unlock":     narrow.call(t, "POST", at+"/unlock", nil),
		"remove":     narrow.call(t, "DELETE", at, nil),
		"invite":     narrow.call(t, "POST", "/api/members", object{"email": "x@people.example", "full_name": "x", "role": "viewer"}),
	} {
		if a.status != 403 || a.outcome(t) != "forbidden" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if ada.head(t) != head {
		t.Error("something was stored")
	}
	oneself, _ := ada.newToken(t, over(domain.Own, domain.ReadMember)...)
	if listed := pages[member](t, oneself, "/api/members", 50); len(listed) != 1 || listed[0].ID != ada.id {
		t.Errorf("listed %+v", listed)
	}
	oneself.call(t, "GET", at, nil).problem(t, 404, "member_not_found")
}
