package domain

import (
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Scope says to which things of a resource a grant reaches.
type Scope string

// The scopes, the narrowest first: each reaches all that those before it reach.
const (
	None      Scope = "none"    // nothing: what an absent grant means
	Own       Scope = "own"     // created by the caller, assigned to the caller, or with the caller as a viewer
	InProject Scope = "project" // and those in projects of which the caller is a member
	All       Scope = "all"     // every one in the workspace
)

// EveryScope is all of them in their order.
var EveryScope = []Scope{None, Own, InProject, All}

// Scopes says over which scopes the things of a resource can be granted. A resource without "own" is one thing, or
// belongs to nobody: the log, the roles, the workspace itself. One without "project" is in no project.
var Scopes = map[string][]Scope{
	"workspace":   {All},
	"role":        {All},
	"audit":       {All},
	"member":      {All, Own}, // oneself
	"project":     {All, InProject, Own},
	"task":        {All, InProject, Own},
	"comment":     {All, InProject, Own},
	"attachment":  {All, InProject, Own},
	"tag":         {All, Own},
	"import":      {All},
	"export":      {All},
	"time_entry":  {All, InProject, Own}, // own: what one worked oneself
	"integration": {All, Own},
	"receiver":    {All},
}

// beyond tells whether s reaches things that other does not.
func (s Scope) beyond(other Scope) bool {
	return slices.Index(EveryScope, s) > slices.Index(EveryScope, other)
}

// Reach says by which of the narrower scopes a member reaches a thing.
type Reach struct{ Own, InProject bool }

// Reaches tells whether a grant over s reaches a thing that its holder reaches so.
func (s Scope) Reaches(r Reach) bool {
	return s == All || s == InProject && (r.Own || r.InProject) || s == Own && r.Own
}

// Part is what a member has to do with a thing.
type Part string

// The parts. All but the last make a thing the member's own.
const (
	Creator       Part = "creator"
	Lead          Part = "lead" // of a project
	Assignee      Part = "assignee"
	Viewer        Part = "viewer"
	Oneself       Part = "oneself"
	Worker        Part = "worker"         // whose time it is
	ProjectMember Part = "project_member" // of the project in which the thing is
)

// Parts are all that a member has to do with one thing; none for a stranger.
type Parts []Part

// Reach is what the parts amount to.
func (p Parts) Reach() Reach {
	own := slices.ContainsFunc(p, func(part Part) bool { return part != ProjectMember })
	return Reach{Own: own, InProject: slices.Contains(p, ProjectMember)}
}

// WithParts is the state of a thing, which says what a member has to do with it. The parts that come of the thing's project are not
// in the state.
type WithParts interface {
	Parts(member uuid.UUID) Parts
}

// Thing is what decides, besides the grants, whether a member reaches a thing, whatever noun it is of.
type Thing struct {
	Resource string
	Parts    Parts
	Within   *Thing // what it belongs to, such as the task of a comment: nobody sees the one without the other
}

// ThingTo is a thing as a member has to do with it; ours tells whether it is in a project of which that one is a member.
func ThingTo(member uuid.UUID, resource string, state WithParts, ours bool, within *Thing) Thing {
	t := Thing{Resource: resource, Parts: state.Parts(member), Within: within}
	if ours {
		t.Parts = append(t.Parts, ProjectMember)
	}
	return t
}

// Reaches is the rule of who may do what. For one thing it says what package projections says in SQL for all of them. Whoever does
// anything to a thing sees it. A thing that belongs to another one is shown to those who have to do with that, and reached by those
// alone who have to do with the thing itself.
func (g Grants) Reaches(action string, t Thing) bool {
	switch {
	case !g.Scope(Permission{t.Resource, action}).Reaches(t.reach(action)):
		return false
	case action != read:
		return g.Reaches(read, t)
	}
	return t.Within == nil || g.Reaches(read, *t.Within)
}

const read = "read"

// reach is how far a scope must go for an action on the thing.
func (t Thing) reach(action string) Reach {
	if action == read && t.Within != nil {
		return append(slices.Clone(t.Parts), t.Within.Parts...).Reach()
	}
	return t.Parts.Reach()
}

// Parts are what a member has to do with a project, with a task, and so on.
func (p Project) Parts(member uuid.UUID) Parts {
	return partsOf(has{Creator, p.CreatedBy == member}, has{Lead, p.LeadID != nil && *p.LeadID == member})
}

func (t Task) Parts(member uuid.UUID) Parts {
	return partsOf(has{Creator, t.CreatedBy == member}, has{Assignee, slices.Contains(t.AssigneeIDs, member)},
		has{Viewer, slices.Contains(t.ViewerIDs, member)})
}

// Parts of a time entry are the worker's alone. One's own time one sees also where one may not see the task, or no longer.
func (t TimeEntry) Parts(member uuid.UUID) Parts {
	return partsOf(has{Worker, t.MemberID == member})
}

func (c Comment) Parts(member uuid.UUID) Parts    { return creator(c.CreatedBy, member) }
func (a Attachment) Parts(member uuid.UUID) Parts { return creator(a.CreatedBy, member) }
func (t Tag) Parts(member uuid.UUID) Parts        { return creator(t.CreatedBy, member) }
func (i Integration) Parts(member uuid.UUID) Parts {
	return creator(i.CreatedBy, member)
}
func (m Member) Parts(member uuid.UUID) Parts {
	return partsOf(has{Oneself, m.ID == member})
}
func (i Import) Parts(member uuid.UUID) Parts { return creator(i.CreatedBy, member) }
func (x Export) Parts(member uuid.UUID) Parts { return creator(x.CreatedBy, member) }
func (OwnRole) Parts(uuid.UUID) Parts         { return nil }

func creator(of, member uuid.UUID) Parts { return partsOf(has{Creator, of == member}) }

type has struct {
	as Part
	is bool
}

func partsOf(candidates ...has) (are Parts) {
	for _, c := range candidates {
		if c.is {
			are = append(are, c.as)
		}
	}
	return are
}

func scopeNames(resource string) string {
	var names []string
	for _, s := range Scopes[resource] {
		names = append(names, string(s))
	}
	return strings.Join(append(names, string(None)), ", ")
}
