package domain

import (
	"fmt"
	"slices"
)

// Permission is an action on a resource. Each operation requires one.
type Permission struct {
	Resource string `json:"resource"`
	Action   string `json:"action"`
}

func (p Permission) String() string { return p.Resource + ":" + p.Action }

// Grant gives a permission over a scope.
type Grant struct {
	Resource string `json:"resource" example:"task"`
	Action   string `json:"action" example:"read"`
	Scope    Scope  `json:"scope" example:"project" doc:"How far it reaches: every thing, those in projects of which one is a member and one's own, one's own, nothing. A resource has all, and may have others."`
}

// Grants are the rights of a role. A right that is not granted is denied.
type Grants []Grant

// Scope gives how far p reaches. It is None when p is not granted, and when p is granted over a scope that the resource does not have.
func (g Grants) Scope(p Permission) Scope {
	for _, grant := range g {
		if grant.Resource == p.Resource && grant.Action == p.Action && slices.Contains(Scopes[p.Resource], grant.Scope) {
			return grant.Scope
		}
	}
	return None
}

// Lacks gives the first permission of other that reaches further than in g, if there is one.
func (g Grants) Lacks(other Grants) (Grant, bool) {
	for _, grant := range other {
		p := Permission{grant.Resource, grant.Action}
		if theirs := other.Scope(p); theirs.beyond(g.Scope(p)) {
			return Grant{p.Resource, p.Action, theirs}, true
		}
	}
	return Grant{}, false
}

// MayGive refuses to give a role or a token a grant that the giver lacks.
func (g Grants) MayGive(given Grants) error {
	if lacking, found := g.Lacks(given); found {
		return Refuse(Forbidden, "grants_exceed_role", "you lack %s:%s over %s, so you cannot grant it: choose grants that you have",
			lacking.Resource, lacking.Action, lacking.Scope)
	}
	return nil
}

// MayActOn refuses to change a member who has a grant that the caller lacks.
func (g Grants) MayActOn(theirs Grants) error {
	if lacking, found := g.Lacks(theirs); found {
		return Refuse(Forbidden, "member_mightier", "the member has %s:%s over %s and you lack it: ask a colleague who has it",
			lacking.Resource, lacking.Action, lacking.Scope)
	}
	return nil
}

// Intersect gives the grants that g and other have in common, each over the narrower scope.
func (g Grants) Intersect(other Grants) Grants {
	both := Grants{}
	for _, grant := range g {
		p := Permission{grant.Resource, grant.Action}
		theirs := other.Scope(p)
		if grant.Scope = g.Scope(p); grant.Scope.beyond(theirs) {
			grant.Scope = theirs
		}
		if grant.Scope != None {
			both = append(both, grant)
		}
	}
	return both
}

// normal writes grants in one way: in the order of Permissions, without those over scope none. It refuses unknown permissions, unknown
// scopes, and a permission that is given twice.
func (g Grants) normal(pointer string) (Grants, error) {
	given := map[Permission]Scope{}
	for i, grant := range g {
		p, at := Permission{grant.Resource, grant.Action}, fmt.Sprintf("%s/%d", pointer, i)
		_, twice := given[p]
		switch {
		case !slices.Contains(Permissions, p):
			return nil, InvalidField(at, "there is no such permission")
		case grant.Scope != None && !slices.Contains(Scopes[p.Resource], grant.Scope):
			return nil, InvalidField(at+"/scope", "%s has only %s", p.Resource, scopeNames(p.Resource))
		case twice:
			return nil, InvalidField(at, "the permission is there twice")
		}
		given[p] = grant.Scope
	}
	all := Grants{}
	for _, p := range Permissions {
		if scope, is := given[p]; is && scope != None {
			all = append(all, Grant{p.Resource, p.Action, scope})
		}
	}
	return all, nil
}

// SessionFirst refuses an API token for an operation that requires a session.
func SessionFirst() *Error {
	return Refuse(Forbidden, "session_required", "this operation requires a session: log in, an API token is not enough")
}

// Allow tells whether p is granted over any scope.
func (g Grants) Allow(p Permission) bool { return g.Scope(p) != None }
