package domain_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// roleOf folds events, each of which must be about the role.
func roleOf(t *testing.T, events ...domain.Event) (o domain.OwnRole) {
	t.Helper()
	for _, r := range history(domain.RosterStream, ann, events...) {
		if _, of := domain.RoleOf(r); !of {
			t.Errorf("%T is no event of a role", r.Event)
		}
		if _, of := domain.MemberOf(r); of {
			t.Errorf("%T is an event of a member", r.Event)
		}
		o.Apply(r)
	}
	return o
}

// Grants are written in one order and without those over scope none. So the same grants in another order are no change.
func TestGrantsOfARole(t *testing.T) {
	id, admin := uuid.New(), domain.GrantsOf(domain.Admin)
	update, read := grantOf(domain.UpdateTask, domain.Own), grantOf(domain.ReadTask, domain.InProject)
	events, err := domain.NewRole(id, named("Contractor"), domain.Grants{update, grantOf(domain.ReadAudit, domain.None), read}, admin, domain.RoleNames{})
	if err != nil {
		t.Fatal(err)
	}
	role := roleOf(t, events...)
	if diff := cmp.Diff(domain.Grants{read, update}, role.Grants); diff != "" {
		t.Error(diff)
	}
	again := domain.Grants{update, read, grantOf(domain.DeleteTask, domain.None)}
	name := named("Contractor")
	if events, err := role.Change(&name, &again, admin, domain.RoleNames{}); events != nil || err != nil {
		t.Errorf("the same grants in another order: %v, %v", events, err)
	}
	for what, wrong := range map[string]struct {
		grants domain.Grants
		at     string
	}{
		"no such permission": {domain.Grants{read, {Resource: "task", Action: "explode", Scope: domain.All}}, "/grants/1"},
		"no such scope":      {domain.Grants{grantOf(domain.ReadTask, "some")}, "/grants/0/scope"},
		"not of this one":    {domain.Grants{grantOf(domain.ReadTag, domain.InProject)}, "/grants/0/scope"},
		"twice":              {domain.Grants{read, read}, "/grants/1"},
		"twice, once none":   {domain.Grants{grantOf(domain.ReadTask, domain.None), read}, "/grants/1"},
	} {
		if _, err := domain.NewRole(id, named("x"), wrong.grants, admin, domain.RoleNames{}); refused(t, err) != wrong.at {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := role.Change(nil, &wrong.grants, admin, domain.RoleNames{}); refused(t, err) != wrong.at {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// An author cannot make a role with a grant that the author lacks, nor give a role such a grant, nor change a role that has one.
func TestRolesAndTheirAuthors(t *testing.T) {
	id, admin := uuid.New(), domain.GrantsOf(domain.Admin)
	narrow := domain.Grants{grantOf(domain.ReadTask, domain.InProject)}
	wide := domain.Grants{grantOf(domain.ReadTask, domain.All)}
	none := domain.RoleNames{}
	create := func(grants, by domain.Grants) string {
		_, err := domain.NewRole(id, named("x"), grants, by, none)
		return refused(t, err)
	}
	change := func(from, to, by domain.Grants) string {
		_, err := roleOf(t, domain.RoleCreated{RoleID: id, UniqueName: named("x"), Grants: from}).Change(nil, &to, by, none)
		return refused(t, err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"as much", create(narrow, narrow), ""},
		{"more", create(wide, narrow), "grants_exceed_role"},
		{"nothing", create(nil, nil), ""},
		{"to as much", change(nil, narrow, narrow), ""},
		{"to more", change(nil, wide, narrow), "grants_exceed_role"},
		{"a mightier one to less", change(wide, nil, narrow), "role_mightier"},
		{"by an admin", change(wide, narrow, admin), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, not %q", c.what, c.got, c.want)
		}
	}
	mightier := roleOf(t, domain.RoleCreated{RoleID: id, Grants: wide})
	if _, err := mightier.Delete(narrow, 0, domain.Policy{}); refused(t, err) != "role_mightier" {
		t.Errorf("deleted: %v", err)
	}
	name := named("y")
	if _, err := mightier.Change(&name, nil, narrow, none); refused(t, err) != "role_mightier" {
		t.Errorf("renamed: %v", err)
	}
}

func TestRoleNames(t *testing.T) {
	for name, others := range map[string]domain.RoleNames{"admin": {}, "viewer": {}, "all": {}, "none": {}, "taken": {Taken: true},
		"аdmin": {}, "αdmin": {}, "admın": {}, "adrnin": {}, "mеmber": {}, "manаger": {}, "vіewer": {}, "aud1tor": {}, "anaiyst": {}, "analуst": {}} {
		if _, err := domain.NewRole(ann, named(name), nil, nil, others); refused(t, err) != "role_name_taken" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, free := range []string{"administrator", "админ", "members", "viewer 2", "owner"} {
		if _, err := domain.NewRole(ann, named(free), nil, nil, domain.RoleNames{}); err != nil {
			t.Errorf("%s: %v", free, err)
		}
	}
	if _, err := domain.NewRole(ann, named(" "), nil, nil, domain.RoleNames{}); refused(t, err) != "/name" {
		t.Errorf("no name: %v", err)
	}
	if _, err := domain.NewRole(ann, named("x"), nil, nil, domain.RoleNames{Roles: domain.MaxRoles}); refused(t, err) != "too_many_roles" {
		t.Errorf("a role beyond MaxRoles: %v", err)
	}
}

// A role with holders is not deleted. A deleted role is removed from the policy.
func TestDeleteRole(t *testing.T) {
	role := roleOf(t, domain.RoleCreated{RoleID: ann, UniqueName: named("x")})
	if _, err := role.Delete(nil, 2, domain.Policy{}); refused(t, err) != "role_in_use" {
		t.Errorf("deleting a role with two holders: %v", err)
	}
	for _, c := range []struct {
		policy []string
		want   []domain.Event
	}{
		{[]string{"admin"}, []domain.Event{domain.RoleDeleted{RoleID: ann}}},
		{[]string{ann.String(), "admin"}, []domain.Event{domain.RoleDeleted{RoleID: ann}, domain.PolicyTwoFactorRequired{Roles: []string{"admin"}}}},
	} {
		events, err := role.Delete(nil, 0, domain.Policy{TwoFactorRoles: c.policy})
		if diff := cmp.Diff(c.want, events); diff != "" || err != nil {
			t.Errorf("%v: %s, %v", c.policy, diff, err)
		}
	}
}
