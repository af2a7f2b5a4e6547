package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Role is a named set of grants. The id of a built-in role is its name; a built-in role never changes. The id of an own role is a UUID.
type Role struct {
	ID      string `json:"id" doc:"The name of a built-in role, or the id of an own one."`
	Name    string `json:"name"`
	BuiltIn bool   `json:"built_in"`
	Grants  Grants `json:"grants"`
}

// Admin is the role of which a workspace always has an active member. An own role with the same grants does not count as Admin. So no
// change of an own role leaves a workspace without an admin, and admins are counted by one column.
const Admin = "admin"

// BuiltInRoles are the roles that every workspace has, in the order of permit.
var BuiltInRoles = []Role{builtIn(Admin), builtIn("manager"), builtIn("member"), builtIn("viewer"), builtIn("auditor"), builtIn("analyst")}

func builtIn(name string) Role { return Role{ID: name, Name: name, BuiltIn: true} }

// BuiltInRole finds a built-in role by its name.
func BuiltInRole(name string) (Role, bool) {
	i := slices.IndexFunc(BuiltInRoles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return BuiltInRoles[i], true
}

// GrantsOf gives the grants of a built-in role, by its name. An unknown name has no grants.
func GrantsOf(role string) Grants {
	r, _ := BuiltInRole(role)
	return r.Grants
}

// Limits of own roles.
const (
	MaxRoleName = 100 // code points
	MaxRoles    = 200 // of a workspace
)

// OwnRole is a role that a workspace has defined.
type OwnRole struct {
	ID        uuid.UUID  `json:"id"`
	Name      string     `json:"name"`
	NameKey   string     `json:"name_key"`
	Grants    Grants     `json:"grants"`
	CreatedBy uuid.UUID  `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	DeletedAt *time.Time `json:"deleted_at"`
	Version   int        `json:"version"` // of the roster, at the role's last change
	Position  int64      `json:"position"`
}

// The events of own roles. They are in the roster, which every command guards. So a change of a role's grants is in force for every
// command that is not committed yet.
type (
	RoleCreated struct {
		RoleID uuid.UUID `json:"role_id"`
		UniqueName
		Grants Grants `json:"grants"`
	}
	RoleRenamed struct {
		RoleID uuid.UUID `json:"role_id"`
		UniqueName
	}
	RoleGrantsChanged struct {
		RoleID uuid.UUID `json:"role_id"`
		Grants Grants    `json:"grants"` // all of them
	}
	RoleDeleted struct {
		RoleID uuid.UUID `json:"role_id"`
	}
)

// Role gives the id of the role that the event is about.
func (e RoleCreated) Role() uuid.UUID       { return e.RoleID }
func (e RoleRenamed) Role() uuid.UUID       { return e.RoleID }
func (e RoleGrantsChanged) Role() uuid.UUID { return e.RoleID }
func (e RoleDeleted) Role() uuid.UUID       { return e.RoleID }

func init() {
	register[RoleCreated]("role.created")
	register[RoleRenamed]("role.renamed")
	register[RoleGrantsChanged]("role.grants_changed")
	register[RoleDeleted]("role.deleted")
}

// RoleOf gives the id of the own role that a record changes.
func RoleOf(r Record) (uuid.UUID, bool) {
	e, ok := r.Event.(interface{ Role() uuid.UUID })
	if !ok {
		return uuid.Nil, false
	}
	return e.Role(), true
}

// Apply folds one event into the state of the role that the event is about.
func (o *OwnRole) Apply(r Record) {
	switch e := r.Event.(type) {
	case RoleCreated:
		*o = OwnRole{ID: e.RoleID, Name: e.Name, NameKey: e.NameKey, Grants: e.Grants, CreatedBy: r.Actor, CreatedAt: r.At}
	case RoleRenamed:
		o.Name, o.NameKey = e.Name, e.NameKey
	case RoleGrantsChanged:
		o.Grants = e.Grants
	case RoleDeleted:
		o.DeletedAt = &r.At
	}
	o.UpdatedAt, o.Version, o.Position = r.At, r.Version, r.Position
}

// Role gives the own role as a Role.
func (o OwnRole) Role() Role { return Role{ID: o.ID.String(), Name: o.Name, Grants: o.Grants} }

// RoleNames describes the other roles of a workspace: whether one of them has the name, and their number.
type RoleNames struct {
	Taken bool
	Roles int
}

// NewRole makes a role. by are the grants of the author.
func NewRole(id uuid.UUID, name UniqueName, grants, by Grants, others RoleNames) ([]Event, error) {
	if err := checkRoleName(name, others.Taken); err != nil {
		return nil, err
	}
	grants, err := grants.normal("/grants")
	if err != nil {
		return nil, err
	}
	if others.Roles >= MaxRoles {
		return nil, Refuse(Conflict, "too_many_roles", "a workspace has at most %d roles of its own", MaxRoles)
	}
	return []Event{RoleCreated{id, name, grants}}, by.MayGive(grants)
}

// Change gives the role another name or other grants; nil keeps the present ones. by are the grants of the caller.
func (o OwnRole) Change(name *UniqueName, grants *Grants, by Grants, others RoleNames) (events []Event, err error) {
	if err := by.mayChangeRole(o.Grants); err != nil {
		return nil, err
	}
	if name != nil {
		if err := checkRoleName(*name, others.Taken); err != nil {
			return nil, err
		}
		if name.Name != o.Name {
			events = append(events, RoleRenamed{o.ID, *name})
		}
	}
	if grants == nil {
		return events, nil
	}
	wanted, err := grants.normal("/grants")
	if err != nil {
		return nil, err
	}
	if !slices.Equal(wanted, o.Grants) {
		events = append(events, RoleGrantsChanged{o.ID, wanted})
	}
	return events, by.MayGive(wanted)
}

// Delete deletes a role without holders. holders counts the members with the role, including invited and deactivated ones. The role is
// removed from the policy as well.
func (o OwnRole) Delete(by Grants, holders int, policy Policy) ([]Event, error) {
	if err := by.mayChangeRole(o.Grants); err != nil {
		return nil, err
	}
	if holders > 0 {
		return nil, Refuse(Conflict, "role_in_use", "%d members have the role, invited and deactivated ones included: give them another role first", holders)
	}
	return append([]Event{RoleDeleted{o.ID}}, policy.without(o.ID.String())...), nil
}

// BuiltInStays refuses to change a built-in role.
func BuiltInStays(name string) error {
	return Refuse(Conflict, "role_built_in", "the role %s is built in and never changes: make a role of your own", name)
}

// mayChangeRole refuses to change a role with a grant that the caller lacks.
func (g Grants) mayChangeRole(role Grants) error {
	if lacking, found := g.Lacks(role); found {
		return Refuse(Forbidden, "role_mightier", "the role grants %s:%s over %s and you lack it: ask a colleague who has it",
			lacking.Resource, lacking.Action, lacking.Scope)
	}
	return nil
}

func checkRoleName(name UniqueName, taken bool) error {
	if err := checkText("/name", name.Name, 1, MaxRoleName); err != nil {
		return err
	}
	if taken || slices.ContainsFunc(reservedRoles(), name.looksLike) {
		return Refuse(Conflict, "role_name_taken", "another role has this name, or one that looks like it: choose another name")
	}
	return nil
}

// reservedRoles are the names that no own role may have: the names of the built-in roles, and the words "all" and "none" of policies and
// grants.
func reservedRoles() []string {
	names := []string{AllRoles, string(None)}
	for _, r := range BuiltInRoles {
		names = append(names, r.Name)
	}
	return names
}

// Parts gives none: a role has no owner.
func (OwnRole) Parts(uuid.UUID) Parts { return nil }
