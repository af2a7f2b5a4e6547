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
		events, err := p.Change(&step.roles, domain.TwoFactor{Enabled: true}, 1, []string{"01900000-0000-7000-8000-000000000001"})
		if code := refused(t, err); code != step.code || len(events) > 0 != step.event {
			t.Fatalf("%q: %v, %v", step.roles, events, err)
		}
		for _, r := range history(domain.RosterStream, uuid.New(), events...) {
			if _, of := domain.PolicyOf(r); !of {
				t.Errorf("%T is no event of the policy", r.Event)
			}
			if _, of := domain.MemberOf(r); of {
				t.Errorf("%T is an event of a member", r.Event)
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
	if events, err := p.Change(nil, domain.TwoFactor{}, 0, nil); events != nil || err != nil {
		t.Errorf("nothing changes: %v, %v", events, err)
	}
	if p.TwoFactorRoles == nil {
		t.Error("a policy that asks nothing must have a list: the column is not null")
	}
}

// A caller who requires two factors has them on, and an admin who can act remains.
func TestWhoMayAskTwoFactors(t *testing.T) {
	on, off := domain.TwoFactor{Enabled: true}, domain.TwoFactor{}
	for _, c := range []struct {
		roles    []string
		by       domain.TwoFactor
		enrolled int
		code     string
	}{
		{[]string{"admin"}, on, 1, ""},
		{[]string{"admin"}, off, 1, "two_factor_required"},
		{[]string{"viewer"}, off, 1, "two_factor_required"},
		{[]string{"admin"}, on, 0, "last_admin"},
		{[]string{"all"}, on, 0, "last_admin"},
		{[]string{"viewer"}, on, 0, ""},
		{[]string{}, off, 0, ""},
	} {
		if _, err := (domain.Policy{TwoFactorRoles: []string{"manager"}}).Change(&c.roles, c.by, c.enrolled, nil); refused(t, err) != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestTwoFactor(t *testing.T) {
	type allowed struct{ begin, use, disable string }
	for f, want := range map[domain.TwoFactor]allowed{
		{}:                              {use: "two_factor_disabled", disable: "two_factor_disabled"},
		{Required: true}:                {use: "two_factor_disabled", disable: "two_factor_disabled"},
		{Enabled: true}:                 {begin: "two_factor_enabled"},
		{Enabled: true, Required: true}: {begin: "two_factor_enabled", disable: "two_factor_required"},
	} {
		if got := (allowed{refused(t, f.Begin()), refused(t, f.Use()), refused(t, f.Disable())}); got != want || f.MustEnrol() != (f.Required && !f.Enabled) {
			t.Errorf("%+v: %+v, %t", f, got, f.MustEnrol())
		}
	}
}

// An admin resets the two factors of another member, but not those of the last admin who can act.
func TestResetTwoFactor(t *testing.T) {
	joined, on, off := domain.MemberJoined{MemberID: ann}, domain.MemberTwoFactorEnabled{MemberID: ann}, domain.MemberTwoFactorDisabled{MemberID: ann}
	for _, c := range []struct {
		what     string
		member   domain.Member
		by       uuid.UUID
		required bool
		others   int
		code     string
		event    bool
	}{
		{"a member's", memberOf("member", joined, on), bob, true, 0, "", true},
		{"one's own", memberOf("admin", joined, on), ann, false, 1, "own_two_factor", false},
		{"none", memberOf("admin", joined), bob, true, 0, "", false},
		{"none any more", memberOf("admin", joined, on, off), bob, true, 0, "", false},
		{"the last admin's", memberOf("admin", joined, on), bob, true, 0, "last_admin", false},
		{"the last admin's, whom nobody asks them of", memberOf("admin", joined, on), bob, false, 0, "", true},
		{"one of two admins'", memberOf("admin", joined, on), bob, true, 1, "", true},
		{"by Kluis itself", memberOf("admin", joined, on), uuid.Nil, false, 0, "", true},
	} {
		events, err := c.member.ResetTwoFactor(c.by, c.required, c.others)
		if refused(t, err) != c.code || len(events) > 0 != c.event {
			t.Errorf("%s: %v, %v", c.what, events, err)
		}
	}
}
