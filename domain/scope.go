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
	"tag":         {All, Own},
	"time_entry":  {All, InProject, Own}, // own: what one worked oneself
	"integration": {All, Own},
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

// Relation is what a member has to do with a thing.
type Relation string

// The relations. All but the last make a thing the member's own.
const (
	Creator       Relation = "creator"
	Lead          Relation = "lead" // of a project
	Assignee      Relation = "assignee"
	Viewer        Relation = "viewer"
	Oneself       Relation = "oneself"
	Worker        Relation = "worker"         // whose time it is
	ProjectMember Relation = "project_member" // of the project in which the thing is
)

// Relations are all that a member has to do with one thing; none for a stranger.
type Relations []Relation

// Reach is what the relations amount to.
func (r Relations) Reach() Reach {
	own := slices.ContainsFunc(r, func(relation Relation) bool { return relation != ProjectMember })
	return Reach{Own: own, InProject: slices.Contains(r, ProjectMember)}
}

// Thing is what decides, besides the grants, whether a member reaches a thing, whatever noun it is of.
type Thing struct {
	Resource  string
	Relations Relations
	Within    *Thing // what it belongs to, such as the task of a comment: nobody sees the one without the other
}

// Reaches is the rule of who may do what. For one thing it says what package projections says in SQL for all of them. Whoever does
// anything to a thing sees it. A thing that belongs to another one is shown to those who have to do with that, and reached by those
// alone who have to do with the thing itself.
func (g Grants) Reaches(action string, t Thing) bool {
	relations := t.Relations
	if t.Within != nil && action == read {
		relations = slices.Concat(relations, t.Within.Relations)
	}
	switch {
	case !g.Scope(Permission{t.Resource, action}).Reaches(relations.Reach()):
		return false
	case action != read:
		return g.Reaches(read, t)
	}
	return t.Within == nil || g.Reaches(read, *t.Within)
}

const read = "read"

// To gives what a member has to do with a project.
func (p Project) To(member uuid.UUID) Thing {
	return Thing{Resource: "project", Relations: relations(
		related{Creator, p.CreatedBy == member},
		related{Lead, p.LeadID != nil && *p.LeadID == member},
		related{ProjectMember, slices.Contains(p.MemberIDs, member)})}
}

// To gives what a member has to do with a task; project is the one in which the task is, or nil.
func (t Task) To(member uuid.UUID, project *Project) Thing {
	return Thing{Resource: "task", Relations: relations(
		related{Creator, t.CreatedBy == member},
		related{Assignee, slices.Contains(t.AssigneeIDs, member)},
		related{Viewer, slices.Contains(t.ViewerIDs, member)},
		related{ProjectMember, project != nil && slices.Contains(project.MemberIDs, member)})}
}

// To gives what a member has to do with a comment on a task.
func (c Comment) To(member uuid.UUID, task Task, project *Project) Thing {
	on := task.To(member, project)
	return Thing{Resource: "comment", Within: &on, Relations: relations(
		related{Creator, c.CreatedBy == member},
		related{ProjectMember, slices.Contains(on.Relations, ProjectMember)})}
}

// To gives what a member has to do with a time entry; project is the one that it is of, or nil. One's own time one sees also where
// one may not see the task, or no longer.
func (t TimeEntry) To(member uuid.UUID, project *Project) Thing {
	return Thing{Resource: "time_entry", Relations: relations(
		related{Worker, t.MemberID == member},
		related{ProjectMember, project != nil && slices.Contains(project.MemberIDs, member)})}
}

type related struct {
	as Relation
	is bool
}

func relations(candidates ...related) (are Relations) {
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
