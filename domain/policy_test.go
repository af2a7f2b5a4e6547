package domain_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func TestPolicy(t *testing.T) {
	var p domain.Policy
	for _, step := range []struct {
		roles []string
		code  string
		event bool
		want  []string
	}{
		{roles: nil},
		{roles: []string{"manager", "admin"}, event: true, want: []string{"admin", "manager"}},
		{roles: []string{"admin", "manager"}, want: []string{"admin", "manager"}},
		{roles: []string{"admin", "admin"}, code: "/two_factor_roles", want: []string{"admin", "manager"}},
		{roles: []string{"Admin"}, code: "/two_factor_roles", want: []string{"admin", "manager"}},
		{roles: []string{""}, code: "/two_factor_roles", want: []string{"admin", "manager"}},
		{roles: []string{"all", "admin"}, code: "/two_factor_roles", want: []string{"admin", "manager"}},
		{roles: []string{"all"}, event: true, want: []string{"all"}},
		{roles: []string{}, event: true},
	} {
		events, err := p.Change(&step.roles)
		if code := refused(t, err); code != step.code || len(events) > 0 != step.event {
			t.Fatalf("%q: %v, %v", step.roles, events, err)
		}
		for _, r := range history(domain.RosterStream, uuid.New(), events...) {
			if _, of := domain.PolicyOf(r); !of {
				t.Errorf("%v is not of the policy", r.Event)
			}
			if _, of := domain.MemberOf(r); of {
				t.Errorf("%v is of a member", r.Event)
			}
			p.Apply(r)
		}
		if !slices.Equal(p.TwoFactorRoles, step.want) {
			t.Errorf("%q: %q", step.roles, p.TwoFactorRoles)
		}
		for _, role := range domain.BuiltInRoles {
			want := slices.Contains(step.want, role.Name) || slices.Contains(step.want, "all")
			if p.RequiresTwoFactor(role.Name) != want {
				t.Errorf("%q asks it of %s: %t", step.want, role.Name, !want)
			}
		}
	}
	if events, err := p.Change(nil); events != nil || err != nil {
		t.Errorf("nothing changes: %v, %v", events, err)
	}
	if p.TwoFactorRoles == nil {
		t.Error("a policy that asks nothing must have a list: the column is not null")
	}
}

func TestTwoFactor(t *testing.T) {
	ada, bob := uuid.New(), uuid.New()
	type allowed struct{ begin, use, disable, reset, own string }
	for f, want := range map[domain.TwoFactor]allowed{
		{}:                              {use: "two_factor_disabled", disable: "two_factor_disabled", own: "own_two_factor"},
		{Required: true}:                {use: "two_factor_disabled", disable: "two_factor_disabled", own: "own_two_factor"},
		{Enabled: true}:                 {begin: "two_factor_enabled", own: "own_two_factor"},
		{Enabled: true, Required: true}: {begin: "two_factor_enabled", disable: "two_factor_required", own: "own_two_factor"},
	} {
		events, err := f.Reset(ada, bob)
		_, own := f.Reset(ada, ada)
		got := allowed{refused(t, f.Begin()), refused(t, f.Use()), refused(t, f.Disable()), refused(t, err), refused(t, own)}
		if got != want || len(events) > 0 != f.Enabled || f.MustEnrol() != (f.Required && !f.Enabled) {
			t.Errorf("%+v: %+v, %v, %t", f, got, events, f.MustEnrol())
		}
	}
}
