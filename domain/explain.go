package domain

import (
	"fmt"
	"strings"
)

// Verdict says in words whether a member may do an action, and why.
type Verdict struct {
	Action  string `json:"action" example:"update"`
	Allowed bool   `json:"allowed" doc:"The member may do so now."`
	Scope   Scope  `json:"scope" doc:"How far the role, or the API token, grants the action."`
	Why     string `json:"why" doc:"The grant, its scope, and the part that the member has in the thing; or what is lacking." example:"The role \"member\" grants task:delete over own, and the member is its creator."`
}

// Explain says whether a member with the role may do the action to a thing, by the rule of Grants.Reaches, and why.
func (r Role) Explain(action string, t Thing) Verdict {
	why := r.why(action, t)
	return Verdict{Action: action, Allowed: r.Grants.Reaches(action, t), Scope: r.Grants.Scope(Permission{t.Resource, action}),
		Why: strings.ToUpper(why[:1]) + why[1:] + "."}
}

// ExplainAny says whether a member with the role has the permission over any scope, without a thing.
func (r Role) ExplainAny(p Permission) Verdict {
	scope := r.Grants.Scope(p)
	return Verdict{Action: p.Action, Allowed: scope != None, Scope: scope, Why: "T" + r.grants(p)[1:] + "."}
}

func (r Role) grants(p Permission) string {
	if scope := r.Grants.Scope(p); scope != None {
		return fmt.Sprintf("the role %q grants %s over %s", r.Name, p, scope)
	}
	return fmt.Sprintf("the role %q does not grant %s", r.Name, p)
}

func (r Role) why(action string, t Thing) string {
	p := Permission{t.Resource, action}
	scope, grants := r.Grants.Scope(p), r.grants(p)
	switch {
	case scope == None:
		return grants
	case !scope.Reaches(t.reach(action)):
		return grants + ", and the member " + t.lacking(scope)
	case action != read && !r.Grants.Reaches(read, t):
		return "the " + noun(t.Resource) + " is not shown to the member: " + r.why(read, t)
	case action == read && t.Within != nil && !r.Grants.Reaches(read, *t.Within):
		return "the " + noun(t.Within.Resource) + " of the " + noun(t.Resource) + " is not shown to the member: " + r.why(read, *t.Within)
	case scope == All:
		return grants
	}
	return grants + ", and the member " + t.having(action, scope)
}

// lacking says why a scope does not reach the thing.
func (t Thing) lacking(scope Scope) string {
	switch {
	case scope == InProject:
		return "does not have any part in it, and is not a member of its project"
	case t.Parts.Reach().InProject:
		return "does not have any part in it but membership of its project"
	}
	return "does not have any part in it"
}

// having says why a scope reaches the thing.
func (t Thing) having(action string, scope Scope) string {
	said := t.Parts.words(scope, "its %s")
	if action == read && t.Within != nil && len(said) == 0 {
		said = t.Within.Parts.words(scope, "the %s of its "+noun(t.Within.Resource))
	}
	return "is " + strings.Join(said, " and ")
}

// words gives the parts that count for a scope, in words.
func (p Parts) words(scope Scope, of string) (said []string) {
	for _, part := range p {
		switch {
		case !scope.Reaches(Parts{part}.Reach()):
		case part == ProjectMember:
			said = append(said, "a member of its project")
		case part == Oneself:
			said = append(said, "the one")
		default:
			said = append(said, fmt.Sprintf(of, part))
		}
	}
	return said
}

// noun gives the name of a resource in words.
func noun(resource string) string { return strings.ReplaceAll(resource, "_", " ") }

// The source of a grant in force, and the limits that can withhold a grant.
const (
	FromRole      = "role"
	FromToken     = "token"      // the API token grants less than the role
	FromTwoFactor = "two_factor" // the policy requires two factors of the role, and the member has none
)

// SourcedGrant is a grant with its source, or with the limit that withholds it.
type SourcedGrant struct {
	Grant
	From string `json:"from" enum:"role,token,two_factor"`
}

// ExplainGrants divides the grants of a role into the grants in force, each with its source, and the withheld ones, each with the limit:
// FromToken or FromTwoFactor.
func ExplainGrants(role, inForce Grants, limit string) (grants, withheld []SourcedGrant) {
	grants, withheld = []SourcedGrant{}, []SourcedGrant{}
	for _, grant := range role {
		scope := inForce.Scope(Permission{grant.Resource, grant.Action})
		switch scope {
		case None:
			withheld = append(withheld, SourcedGrant{grant, limit})
		case grant.Scope:
			grants = append(grants, SourcedGrant{grant, FromRole})
		default:
			grant.Scope = scope
			grants = append(grants, SourcedGrant{grant, limit})
		}
	}
	return grants, withheld
}
