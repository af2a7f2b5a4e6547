package domain

import (
	"fmt"
	"slices"
)

// Permission is what an operation asks for: an action on a resource.
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

// Scope gives how far p reaches; None when it is not granted, and for a grant over a scope that the resource does not have.
func (g Grants) Scope(p Permission) Scope {
	for _, grant := range g {
		if grant.Resource == p.Resource && grant.Action == p.Action && slices.Contains(Scopes[p.Resource], grant.Scope) {
			return grant.Scope
		}
	}
	return None
}

// Lacks gives a permission that other grants further than g does, if there is one.
func (g Grants) Lacks(other Grants) (Grant, bool) {
	for _, grant := range other {
		p := Permission{grant.Resource, grant.Action}
		if theirs := other.Scope(p); theirs.beyond(g.Scope(p)) {
			return Grant{p.Resource, p.Action, theirs}, true
		}
	}
	return Grant{}, false
}

// MayGive refuses to give others (a role, a token) what one lacks oneself.
func (g Grants) MayGive(given Grants) error {
	if lacking, found := g.Lacks(given); found {
		return Refuse(Forbidden, "grants_exceed_role", "you may not %s:%s over %s yourself, so you cannot give that to anybody or anything",
			lacking.Resource, lacking.Action, lacking.Scope)
	}
	return nil
}

// MayActOn refuses to change somebody who may do what one lacks oneself.
func (g Grants) MayActOn(theirs Grants) error {
	if lacking, found := g.Lacks(theirs); found {
		return Refuse(Forbidden, "member_mightier", "the member may %s:%s over %s and you may not: ask somebody who may",
			lacking.Resource, lacking.Action, lacking.Scope)
	}
	return nil
}

// Intersect is what both g and other grant.
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

// normal is the one way to write grants: in the order of Permissions, without those over scope none. It refuses permissions that there
// are not, scopes that there are not, and a permission that is given twice.
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

// SessionFirst refuses an API token where it takes a session.
func SessionFirst() *Error {
	return Refuse(Forbidden, "session_required", "this takes a session: log in; an API token will not do")
}

// Allow tells whether p is granted over any scope.
func (g Grants) Allow(p Permission) bool { return g.Scope(p) != None }
