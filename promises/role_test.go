package promises

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func TestLifeOfARole(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	w := &walk{ada, t, ada.head(t)}
	grants := append(over(domain.InProject, domain.ReadTask), over(domain.Own, domain.UpdateTask)...)
	made := decode[apiRole](t, w.step("POST", "/api/roles", object{"name": " Contractor ", "grants": append(over(domain.None, domain.DeleteTask), grants...)}, 201, 1))
	if made.Name != "Contractor" || made.BuiltIn || *made.CreatedBy != ada.id || !slices.Equal(made.Grants, grants) {
		t.Errorf("made %+v", made)
	}
	at := rolePath(made)
	got := ada.call(t, "GET", at, nil).want(t, 200)
	if diff := cmp.Diff(made, decode[apiRole](t, got)); diff != "" || got.header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(made.Version)) {
		t.Errorf("ETag %s: %s", got.header.Get("ETag"), diff)
	}
	renamed := w.step("PATCH", at, object{"name": "Freelancer"}, 200, 1)
	w.step("PATCH", at, object{"name": "Freelancer", "grants": grants}, 200, 0)
	w.call(t, "PATCH", at, object{"grants": []domain.Grant{}}, `If-Match: "`+fmt.Sprint(made.Version)+`"`).problem(t, 412, "stale")
	if both := decode[apiRole](t, w.step("PATCH", at, object{"name": "FREELANCER", "grants": []domain.Grant{}}, 200, 2)); len(both.Grants) != 0 || both.Name != "FREELANCER" {
		t.Errorf("after %s both are changed: %+v", renamed.body, both)
	}
	for _, taken := range []string{"freelancer", "Ｆreelancer", " FREE\u00adLANCER", "Admin", "ALL", "viewer\u200b", "\u0410dmin", "AnaIyst"} {
		w.call(t, "POST", "/api/roles", object{"name": taken, "grants": grants}).problem(t, 409, "role_name_taken")
	}
	other := ada.newRole(t)
	w.call(t, "PATCH", rolePath(other), object{"name": "freelancer"}).problem(t, 409, "role_name_taken")
	var names []string
	for limit := range 8 {
		names = nil
		for _, role := range pages[apiRole](t, ada, "/api/roles", limit+1) {
			names = append(names, role.ID)
		}
		if want := []string{other.ID, made.ID, "admin", "manager", "member", "viewer", "auditor", "analyst"}; !slices.Equal(names, want) {
			t.Errorf("%d at a time: %v", limit+1, names)
		}
	}
	for _, role := range domain.BuiltInRoles {
		if shown := decode[apiRole](t, ada.call(t, "GET", "/api/roles/"+role.ID, nil).want(t, 200)); !slices.Equal(shown.Grants, role.Grants) || !shown.BuiltIn {
			t.Errorf("%+v", shown)
		}
		w.call(t, "PATCH", "/api/roles/"+role.ID, object{"grants": grants}).problem(t, 409, "role_built_in")
		w.call(t, "DELETE", "/api/roles/"+role.ID, nil).problem(t, 409, "role_built_in")
	}
	for _, nobody := range []string{"emperor", uuid.NewString(), strings.Repeat("-", 36)} {
		for _, method := range []string{"GET", "DELETE"} {
			w.call(t, method, "/api/roles/"+nobody, nil).problem(t, 404, "role_not_found")
		}
		w.call(t, "POST", "/api/members", object{"email": uuid.NewString() + "@x.example", "full_name": "n", "role": nobody}).refusedAs(t, nobody, 422, "/role")
	}

	// While somebody has the role it stays, and says how many have.
	ada.invite(t, made.ID)
	bob := ada.member(t, strings.ToUpper(made.ID))
	ada.call(t, "POST", "/api/members/"+bob.id.String()+"/deactivate", nil).want(t, 200)
	if p := ada.call(t, "DELETE", at, nil).problem(t, 409, "role_in_use"); !strings.HasPrefix(p.Detail, "2 members ") {
		t.Error(p.Detail)
	}
	for _, m := range pages[struct{ ID, Role string }](t, ada, "/api/members", 9) {
		if m.Role == made.ID {
			ada.call(t, "PATCH", "/api/members/"+m.ID, object{"role": "viewer"}).want(t, 200)
		}
	}
	w.last = ada.head(t)
	w.step("DELETE", at, nil, 204, 1)
	w.call(t, "GET", at, nil).problem(t, 404, "role_not_found")
	w.call(t, "PATCH", at, object{"name": "x"}).problem(t, 404, "role_not_found")
	w.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": made.ID}).refusedAs(t, "gone", 422, "/role")
	w.step("POST", "/api/roles", object{"name": "Freelancer", "grants": grants}, 201, 1)
	ada.judge(t)
	ada.noDrift(t)
}

// What a role grants no more is refused at the next request: with a session, with an API token that was given it, and whichever process is
// asked.
func TestWeakenedRoles(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	role := ada.newRole(t, over(domain.All, domain.ReadTask, domain.CreateTask, domain.UpdateTask)...)
	bob := ada.member(t, role.ID).on(p[1])
	script, _ := bob.newToken(t)
	task := bob.newTask(t)
	alien := ada.newTask(t)
	for _, who := range []*client{bob, script} {
		who.call(t, "PATCH", taskPath(alien), object{"title": uuid.NewString()}).want(t, 200)
		who.call(t, "DELETE", taskPath(alien), nil).problem(t, 403, "forbidden")
	}
	ada.call(t, "PATCH", rolePath(role), object{"grants": append(over(domain.All, domain.ReadTask, domain.DeleteTask), over(domain.Own, domain.UpdateTask)...)}).want(t, 200)
	for _, who := range []*client{bob, script} {
		who.call(t, "PATCH", taskPath(alien), object{"title": "x"}).problem(t, 403, "forbidden")
		who.call(t, "PATCH", taskPath(task), object{"title": uuid.NewString()}).want(t, 200)
		who.call(t, "POST", "/api/tasks", object{"title": "x"}).problem(t, 403, "forbidden")
	}
	script.call(t, "DELETE", taskPath(alien), nil).problem(t, 403, "forbidden") // what a role gains, tokens of before do not
	bob.call(t, "DELETE", taskPath(alien), nil).want(t, 204)
	ada.call(t, "PATCH", rolePath(role), object{"grants": []domain.Grant{}}).want(t, 200)
	for _, who := range []*client{bob, script} {
		who.call(t, "GET", taskPath(task), nil).problem(t, 403, "forbidden")
		who.call(t, "GET", "/api/me", nil).want(t, 200)
	}
	ada.judge(t)
}

// Whoever may make and change roles makes nobody mightier than themselves.
func TestRolesMakeNobodyMightier(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	wide := ada.newRole(t, over(domain.All, domain.ReadTask, domain.ReadAudit)...)
	narrow := ada.newRole(t, over(domain.All, domain.ReadTask)...)
	hr := ada.newRole(t, over(domain.All, domain.ReadRole, domain.CreateRole, domain.UpdateRole, domain.DeleteRole, domain.ReadMember, domain.UpdateMember, domain.CreateMember,
		domain.ReadTask)...)
	eve, boss := ada.member(t, hr.ID), ada.member(t, wide.ID)
	more := object{"name": uuid.NewString(), "grants": over(domain.All, domain.ReadAudit)}
	eve.call(t, "POST", "/api/roles", more).problem(t, 403, "grants_exceed_role")
	eve.call(t, "PATCH", rolePath(narrow), more).problem(t, 403, "grants_exceed_role")
	eve.call(t, "PATCH", rolePath(hr), object{"grants": domain.GrantsOf(domain.Admin)}).problem(t, 403, "grants_exceed_role")
	eve.call(t, "PATCH", rolePath(wide), object{"grants": []domain.Grant{}}).problem(t, 403, "role_mightier")
	eve.call(t, "PATCH", rolePath(wide), object{"name": "x"}).problem(t, 403, "role_mightier")
	eve.call(t, "DELETE", rolePath(wide), nil).problem(t, 403, "role_mightier")
	for _, role := range []string{wide.ID, "admin", "member"} {
		eve.call(t, "POST", "/api/members", object{"email": uuid.NewString() + "@x.example", "full_name": "n", "role": role}).problem(t, 403, "grants_exceed_role")
		eve.call(t, "PATCH", "/api/members/"+eve.id.String(), object{"role": role}).problem(t, 403, "grants_exceed_role")
	}
	eve.call(t, "PATCH", "/api/members/"+boss.id.String(), object{"role": narrow.ID}).problem(t, 403, "member_mightier")
	eve.call(t, "PATCH", rolePath(narrow), object{"grants": over(domain.Own, domain.ReadTask)}).want(t, 200)
	eve.member(t, narrow.ID)
	script, _ := ada.newToken(t, over(domain.All, domain.UpdateRole, domain.ReadRole)...)
	script.call(t, "PATCH", rolePath(wide), object{"grants": []domain.Grant{}}).problem(t, 403, "role_mightier")

	// An own role with all that an admin may is no admin: the last of those stays.
	twin := ada.newRole(t, domain.GrantsOf(domain.Admin)...)
	bob := ada.member(t, twin.ID)
	bob.call(t, "PATCH", "/api/members/"+ada.id.String(), object{"role": twin.ID}).problem(t, 409, "last_admin")
	bob.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "admin"}).want(t, 200)
	bob.call(t, "PATCH", rolePath(twin), object{"grants": []domain.Grant{}}).want(t, 200)
	bob.call(t, "DELETE", rolePath(twin), nil).want(t, 204)
	ada.judge(t)
	ada.noDrift(t)
}

// A role that somebody gets and a role that is deleted, at the same instant in two processes: one of the two, never both. Of two that take one
// name, one has it.
func TestRolesRace(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "viewer")
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		role := ada.newRole(t)
		give := request{"PATCH", "/api/members/" + bob.id.String(), object{"role": role.ID}}
		if round%2 == 0 {
			give = request{"POST", "/api/members", object{"email": uuid.NewString() + "@x.example", "full_name": "n", "role": role.ID}}
		}
		var given, deleted reply
		parallel(2, func(i int) {
			if i == 0 {
				given = give.send(t, ada)
			} else {
				deleted = ada.on(p[1]).call(t, "DELETE", rolePath(role), nil)
			}
		})
		if (given.status/100 == 2) == (deleted.status == 204) {
			t.Errorf("given: %d, deleted: %d", given.status, deleted.status)
		}
		name := uuid.NewString()
		var made [2]reply
		parallel(2, func(i int) {
			made[i] = ada.on(p[i]).call(t, "POST", "/api/roles", object{"name": name, "grants": []domain.Grant{}})
		})
		if made[0].status+made[1].status != 201+409 {
			t.Errorf("two of one name: %d, %d", made[0].status, made[1].status)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}

// Two factors can be asked of an own role, until it is no more.
func TestTwoFactorsOfAnOwnRole(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	role := ada.newRole(t, over(domain.All, domain.ReadTask)...)
	bob := ada.member(t, role.ID)
	bob.call(t, "GET", "/api/tasks", nil).want(t, 200)
	ada.enrol(t)
	ada.call(t, "PATCH", "/api/policy", object{"two_factor_roles": []string{uuid.NewString()}, "password": ada.password}).refusedAs(t, "no such role", 422, "/two_factor_roles")
	ada.require(t, role.ID, "auditor")
	bob.call(t, "GET", "/api/tasks", nil).problem(t, 403, "two_factor_required")
	ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "viewer"}).want(t, 200)
	bob.call(t, "GET", "/api/tasks", nil).want(t, 200)
	ada.call(t, "DELETE", rolePath(role), nil).want(t, 204)
	if policy := decode[struct {
		TwoFactorRoles []string `json:"two_factor_roles"`
	}](t, ada.call(t, "GET", "/api/policy", nil).want(t, 200)); !slices.Equal(policy.TwoFactorRoles, []string{"auditor"}) {
		t.Errorf("asked of %v", policy.TwoFactorRoles)
	}
}
