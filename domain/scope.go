package domain

import (
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Scope says which things of a resource a grant reaches.
type Scope string

// The scopes, the narrowest first. Each reaches all things that a narrower one reaches.
const (
	None      Scope = "none"    // nothing: what an absent grant means
	Own       Scope = "own"     // created by the caller, assigned to the caller, or with the caller as a viewer
	InProject Scope = "project" // and those in projects of which the caller is a member
	All       Scope = "all"     // every one in the workspace
)

// EveryScope are the scopes in their order.
var EveryScope = []Scope{None, Own, InProject, All}

// Scopes lists the scopes over which each resource can be granted. A resource without "own" is a single thing or has no owner: the log,
// the roles, the workspace itself. The things of a resource without "project" are in no project.
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
	"time_entry":  {All, InProject, Own}, // own: the worker's
	"integration": {All, Own},
	"receiver":    {All},
}

// beyond tells whether s reaches things that other does not reach.
func (s Scope) beyond(other Scope) bool {
	return slices.Index(EveryScope, s) > slices.Index(EveryScope, other)
}

// Reach says which of the scopes below All let a member reach a thing.
type Reach struct{ Own, InProject bool }

// Reaches tells whether a grant over s reaches a thing with the Reach.
func (s Scope) Reaches(r Reach) bool {
	return s == All || s == InProject && (r.Own || r.InProject) || s == Own && r.Own
}

// Part is a relation of a member to a thing.
type Part string

// The parts. Each but ProjectMember makes a thing the member's own.
const (
	Creator       Part = "creator"
	Lead          Part = "lead" // of a project
	Assignee      Part = "assignee"
	Viewer        Part = "viewer"
	Oneself       Part = "oneself"
	Worker        Part = "worker"         // of a time entry
	ProjectMember Part = "project_member" // of the project that the thing is in
)

// Parts are all relations of a member to one thing; empty for a stranger.
type Parts []Part

// Reach gives the scopes below All by which a member with the parts reaches the thing.
func (p Parts) Reach() Reach {
	own := slices.ContainsFunc(p, func(part Part) bool { return part != ProjectMember })
	return Reach{Own: own, InProject: slices.Contains(p, ProjectMember)}
}

// WithParts is the state of a thing that gives a member's parts in the thing. ProjectMember is not among them, because it depends on the
// project of the thing.
type WithParts interface {
	Parts(member uuid.UUID) Parts
}

// Thing is a thing of any noun as the rules of access see it: by a member's parts in the thing.
type Thing struct {
	Resource string
	Parts    Parts
	Within   *Thing // the thing that it belongs to, such as the task of a comment: a caller who may not see the task may not see the comment
}

// ThingTo gives the Thing of a state for a member. ours tells whether the member is a member of the thing's project.
func ThingTo(member uuid.UUID, resource string, state WithParts, ours bool, within *Thing) Thing {
	t := Thing{Resource: resource, Parts: state.Parts(member), Within: within}
	if ours {
		t.Parts = append(t.Parts, ProjectMember)
	}
	return t
}

// Reaches is the rule of access for one thing. Package projections has the same rule in SQL, for lists.
//
//  1. Every action on a thing requires a grant whose scope reaches the thing.
//  2. An action other than read also requires that the caller may read the thing.
//  3. Reading a thing within another one also requires that the caller may read the other one. For reading, the caller's parts in the
//     other one count as well.
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

// reach gives the scopes below All that allow an action on the thing.
func (t Thing) reach(action string) Reach {
	if action == read && t.Within != nil {
		return append(slices.Clone(t.Parts), t.Within.Parts...).Reach()
	}
	return t.Parts.Reach()
}

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
