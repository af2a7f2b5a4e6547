package domain_test

import (
	"slices"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

func grantOf(p domain.Permission, scope domain.Scope) domain.Grant {
	return domain.Grant{Resource: p.Resource, Action: p.Action, Scope: scope}
}

// A scope that a resource does not have grants nothing, wherever it came from, and is in no built-in role.
func TestScopesOfResources(t *testing.T) {
	for _, p := range domain.Permissions {
		if domain.Scopes[p.Resource] == nil {
			t.Fatalf("Scopes in domain/scope.go does not say over which scopes %s can be granted: it needs the line\n\t%q: {All, Own},\nwith InProject where things are in projects, and without Own where they are nobody's own", p, p.Resource)
		}
		for _, scope := range []domain.Scope{domain.All, domain.Own, domain.None, "project", ""} {
			grants := domain.Grants{grantOf(p, scope)}
			has := slices.Contains(domain.Scopes[p.Resource], scope)
			if got := grants.Scope(p); has && got != scope || !has && got != domain.None {
				t.Errorf("%s over %q reaches %q", p, scope, got)
			}
			cut := grants.Intersect(domain.GrantsOf(domain.Admin))
			if allowed := len(cut) > 0; allowed != has {
				t.Errorf("%s over %q of an admin: %v", p, scope, cut)
			}
		}
	}
	for _, role := range domain.BuiltInRoles {
		for _, g := range role.Grants {
			if !slices.Contains(domain.Scopes[g.Resource], g.Scope) {
				t.Errorf("domain/permission.go gives %s %v, and %s has the scopes %v", role.Name, g, g.Resource, domain.Scopes[g.Resource])
			}
		}
	}
}

func TestNobodyGivesWhatTheyLack(t *testing.T) {
	admin, member := domain.GrantsOf(domain.Admin), domain.GrantsOf("member")
	own := domain.Grants{grantOf(domain.ReadTask, domain.Own)}
	all := domain.Grants{grantOf(domain.ReadTask, domain.All)}
	for _, c := range []struct {
		what         string
		mine, theirs domain.Grants
		refused      bool
	}{
		{"an admin, an admin", admin, admin, false},
		{"an admin, a member", admin, member, false},
		{"a member, an admin", member, admin, true},
		{"own, all", own, all, true},
		{"all, own", all, own, false},
		{"nothing, nothing", nil, nil, false},
		{"nothing, something", nil, own, true},
		{"nothing, a scope that grants nothing", nil, domain.Grants{grantOf(domain.ReadAudit, domain.Own)}, false},
		{"a scope that grants nothing, all", domain.Grants{grantOf(domain.ReadAudit, domain.Own)}, domain.Grants{grantOf(domain.ReadAudit, domain.All)}, true},
	} {
		for want, check := range map[string]func(domain.Grants) error{"grants_exceed_role": c.mine.MayGive, "member_mightier": c.mine.MayActOn} {
			if err := check(c.theirs); (err != nil) != c.refused || err != nil && refused(t, err) != want {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	}
}
