package domain

import (
	"fmt"
	"strings"
)

// Verdict says whether somebody may do something, and why, in words.
type Verdict struct {
	Action  string `json:"action" example:"update"`
	Allowed bool   `json:"allowed" doc:"The member may do so now."`
	Scope   Scope  `json:"scope" doc:"How far the role, or the API token, grants the action."`
	Why     string `json:"why" doc:"The grant, its scope, and the part that the member has in the thing; or what is lacking." example:"The role \"member\" grants task:delete over own, and the member is its creator."`
}

// Explain says whether somebody with the role may do something to a thing, by the rule of Grants.Reaches, and why.
func (r Role) Explain(action string, t Thing) Verdict {
	why := r.why(action, t)
	return Verdict{Action: action, Allowed: r.Grants.Reaches(action, t), Scope: r.Grants.Scope(Permission{t.Resource, action}),
		Why: strings.ToUpper(why[:1]) + why[1:] + "."}
}

// ExplainAny is Explain for no thing in particular.
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

// lacking is what keeps a thing from a scope.
func (t Thing) lacking(scope Scope) string {
	switch {
	case scope == InProject:
		return "has nothing to do with it, nor is one of its project"
	case t.Parts.Reach().InProject:
		return "has nothing to do with it but to be a member of its project"
	}
	return "has nothing to do with it"
}

// having is what brings a thing within a scope.
func (t Thing) having(action string, scope Scope) string {
	said := t.Parts.words(scope, "its %s")
	if action == read && t.Within != nil && len(said) == 0 {
		said = t.Within.Parts.words(scope, "the %s of its "+noun(t.Within.Resource))
	}
	return "is " + strings.Join(said, " and ")
}

// words are those of the parts that count for a scope.
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

// noun is a resource as people call it.
func noun(resource string) string { return strings.ReplaceAll(resource, "_", " ") }

// The sources of a grant, and what may keep one from being in force.
const (
	FromRole      = "role"
	FromToken     = "token"      // which grants less than the role
	FromTwoFactor = "two_factor" // which are asked of the role, and not on
)

// SourcedGrant is a grant with where it comes from, or with what keeps it from being in force.
type SourcedGrant struct {
	Grant
	From string `json:"from" enum:"role,token,two_factor"`
}

// ExplainGrants tells of those grants of a role that are in force how far each reaches and what says so, and of those that are not what keeps
// them: limit is that of the token, or of two factors.
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
