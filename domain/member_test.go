package domain_test

import (
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

func memberOf(role string, events ...domain.Event) (m domain.Member) {
	all := append([]domain.Event{domain.MemberInvited{MemberID: ann, Role: role}}, events...)
	for _, r := range history(domain.RosterStream, bob, all...) {
		m.Apply(r)
	}
	return m
}

// A workspace always has an active admin: every command that would remove the last one is refused, and no other command is.
func TestLastAdmin(t *testing.T) {
	joined := domain.MemberJoined{MemberID: ann}
	out := domain.MemberDeactivated{MemberID: ann}
	decisions := map[string]func(domain.Member, int) ([]domain.Event, error){
		"demote":     func(m domain.Member, others int) ([]domain.Event, error) { return m.ChangeRole("member", others) },
		"deactivate": domain.Member.Deactivate,
		"remove":     domain.Member.Remove,
	}
	for name, decide := range decisions {
		for _, c := range []struct {
			what   string
			member domain.Member
			others int
			last   bool
		}{
			{"the last", memberOf("admin", joined), 0, true},
			{"one of two", memberOf("admin", joined), 1, false},
			{"no admin", memberOf("member", joined), 0, false},
			{"a deactivated admin", memberOf("admin", joined, out), 0, false},
		} {
			_, err := decide(c.member, c.others)
			if got := refused(t, err) == "last_admin"; got != c.last {
				t.Errorf("%s %s: %v", name, c.what, err)
			}
		}
	}
	if _, err := memberOf("admin").Remove(0); err != nil {
		t.Errorf("an invited admin does not count: %v", err)
	}
}

// A member who has chosen no language reads English; choosing the present language is no change.
func TestMemberLanguage(t *testing.T) {
	old := memberOf("member")
	changed, err := old.ChangeLanguage("fr")
	if err != nil || len(changed) != 1 || old.Language != "en" {
		t.Fatalf("%+v, %v, of %q", changed, err, old.Language)
	}
	french := memberOf("member", changed...)
	if nothing, err := french.ChangeLanguage("fr"); french.Language != "fr" || nothing != nil || err != nil {
		t.Errorf("%q, %v, %v", french.Language, nothing, err)
	}
	for _, wrong := range []string{"", "de", "FR", "fr-BE"} {
		if _, err := french.ChangeLanguage(wrong); refused(t, err) != "/language" {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestMemberStatus(t *testing.T) {
	joined, out := domain.MemberJoined{MemberID: ann}, domain.MemberDeactivated{MemberID: ann}
	invited, active, deactivated := memberOf("member"), memberOf("member", joined), memberOf("member", joined, out)
	deactivate := func(m domain.Member) ([]domain.Event, error) { return m.Deactivate(1) }
	for _, c := range []struct {
		name   string
		member domain.Member
		decide func(domain.Member) ([]domain.Event, error)
		events int
		code   string
	}{
		{"join", invited, domain.Member.Join, 1, ""},
		{"join twice", active, domain.Member.Join, 0, "not_invited"},
		{"join deactivated", deactivated, domain.Member.Join, 0, "not_invited"},
		{"deactivate", active, deactivate, 1, ""},
		{"deactivate twice", deactivated, deactivate, 0, ""},
		{"deactivate invited", invited, deactivate, 0, "member_invited"},
		{"reactivate", deactivated, domain.Member.Reactivate, 1, ""},
		{"reactivate active", active, domain.Member.Reactivate, 0, ""},
		{"reactivate invited", invited, domain.Member.Reactivate, 0, "member_invited"},
	} {
		events, err := c.decide(c.member)
		if refused(t, err) != c.code || len(events) != c.events {
			t.Errorf("%s: %v, %v", c.name, events, err)
		}
	}
}

// Deny by default: a role grants only the permissions that it names, and names only permissions that exist.
func TestBuiltInRoles(t *testing.T) {
	known := map[domain.Permission]bool{}
	for _, p := range domain.Permissions {
		known[p] = true
	}
	for _, role := range domain.BuiltInRoles {
		seen := map[domain.Permission]bool{}
		for _, g := range role.Grants {
			p := domain.Permission{Resource: g.Resource, Action: g.Action}
			if !known[p] || seen[p] || g.Scope == domain.None {
				t.Errorf("%s: grant %+v", role.Name, g)
			}
			seen[p] = true
		}
		if role.Grants.Allow(domain.Permission{Resource: "task", Action: "explode"}) {
			t.Errorf("%s grants what nobody named", role.Name)
		}
		if role.Name != domain.Admin && role.Grants.Allow(domain.UpdateMember) {
			t.Errorf("%s may change members", role.Name)
		}
	}
	admin, _ := domain.BuiltInRole(domain.Admin)
	for _, p := range domain.Permissions {
		if admin.Grants.Scope(p) != domain.All {
			t.Errorf("an admin lacks %s: Scopes in domain/scope.go allows %v, and the column of the admin in domain/permission.go says the rest", p, domain.Scopes[p.Resource])
		}
	}
}

func TestCheckEmail(t *testing.T) {
	for address, good := range map[string]bool{
		"Ann@Example.org": true, "ann+tag@example.org": true, "ann@bücher.example": true,
		"": false, "ann": false, "ann@": false, "@example.org": false, "Ann <ann@example.org>": false, "ann@example.org\r\nBcc: x@y": false,
		"a b@example.org": false, "ann@example.org ": false, "ann@exa\x00mple.org": false,
	} {
		if err := domain.CheckEmail("/email", address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
