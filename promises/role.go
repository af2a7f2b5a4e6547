package promises

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "role",
	thing: func(t tester, x *tenant) uuid.UUID {
		made := x.call(t, "POST", "/api/roles", object{"name": x.private(), "grants": over(domain.InProject, domain.ReadTask)}).want(t, 201)
		return uuid.MustParse(decode[apiRole](t, made).ID)
	},
	bodies: map[string]func(x *tenant) object{
		"create-role": func(*tenant) object {
			return object{"name": uuid.NewString(), "grants": over(domain.Own, domain.ReadTask, domain.UpdateTask)}
		},
		"update-role": func(*tenant) object {
			return object{"name": uuid.NewString(), "grants": over(domain.All, domain.ReadTask)}
		},
	},
	rule:   judgeRole,
	stream: func(domain.Event, uuid.UUID) string { return domain.RosterStream },
	races: map[string]race{
		"a role for somebody, that is deleted": func(t tester, x *tenant) (one, other request) {
			role := x.newRole(t)
			return request{"DELETE", rolePath(role), nil}, request{"PATCH", "/api/members/" + x.other.id.String(), object{"role": role.ID}}
		},
	},
})

// apiRole is a role as a client reads it.
type apiRole struct {
	domain.Role
	CreatedBy *uuid.UUID `json:"created_by"`
	Version   int        `json:"version"`
}

func rolePath(role apiRole) string { return "/api/roles/" + role.ID }

func (c *client) newRole(t tester, grants ...domain.Grant) apiRole {
	t.Helper()
	return decode[apiRole](t, c.call(t, "POST", "/api/roles", object{"name": uuid.NewString(), "grants": append([]domain.Grant{}, grants...)}).want(t, 201))
}

func over(scope domain.Scope, permissions ...domain.Permission) (grants []domain.Grant) {
	for _, p := range permissions {
		grants = append(grants, grant(p, scope))
	}
	return grants
}

type judgedRole struct {
	key    string
	grants domain.Grants
	gone   bool
}

func judgeRole(o *oracle, e fact) error {
	id := e.event.(interface{ Role() uuid.UUID }).Role()
	roles := the[uuid.UUID, judgedRole](o)
	k := roles[id]
	if created, ok := e.event.(domain.RoleCreated); ok {
		err := firstError(o.may(e.actor, domain.CreateRole, true), when(k != nil, "it is there"), o.roleName(id, created.NameKey), o.covers(e.actor, created.Grants))
		roles[id] = &judgedRole{key: created.NameKey, grants: created.Grants}
		return err
	}
	if k == nil || k.gone {
		return fmt.Errorf("there is no such role")
	}
	err := o.covers(e.actor, k.grants) // or who has it is mightier
	switch event := e.event.(type) {
	case domain.RoleRenamed:
		k.key = event.NameKey
		return firstError(err, o.may(e.actor, domain.UpdateRole, true), o.roleName(id, event.NameKey))
	case domain.RoleGrantsChanged:
		err = firstError(err, o.may(e.actor, domain.UpdateRole, true), o.covers(e.actor, event.Grants), when(slices.Equal(k.grants, event.Grants), "it is so already"))
		k.grants = event.Grants
		return err
	case domain.RoleDeleted:
		k.gone = true
		for member, who := range o.people {
			if who.role == id.String() && who.status != "removed" {
				return fmt.Errorf("member %s has it", member)
			}
		}
		return firstError(err, o.may(e.actor, domain.DeleteRole, true))
	}
	return errUnknown(e)
}

// roleName tells whether no other role has a name.
func (o *oracle) roleName(id uuid.UUID, key string) error {
	for other, k := range the[uuid.UUID, judgedRole](o) {
		if other != id && !k.gone && k.key == key {
			return fmt.Errorf("the name %q is taken", key)
		}
	}
	return when(len(domain.GrantsOf(key)) > 0, "a built-in role has the name")
}

// grants is what a role grants at this place in the log.
func (o *oracle) grants(role string) domain.Grants {
	if id, err := uuid.Parse(role); err == nil {
		if k := the[uuid.UUID, judgedRole](o)[id]; k != nil && !k.gone {
			return k.grants
		}
	}
	return domain.GrantsOf(role)
}

// covers tells whether the actor's role grants all that others do.
func (o *oracle) covers(actor uuid.UUID, others domain.Grants) error {
	if err := o.active(actor); err != nil {
		return err
	}
	reach := map[domain.Scope]int{domain.Own: 1, domain.InProject: 2, domain.All: 3}
	mine := o.grants(o.people[actor].role)
	for _, g := range others {
		p := domain.Permission{Resource: g.Resource, Action: g.Action}
		if reach[mine.Scope(p)] < reach[g.Scope] {
			return fmt.Errorf("the actor may not %s over %s", p, g.Scope)
		}
	}
	return nil
}

// in tells whether an actor is a member of a project.
func (o *oracle) in(actor uuid.UUID, project *uuid.UUID) bool {
	if project == nil {
		return false
	}
	p := the[uuid.UUID, judgedProject](o)[*project]
	return p != nil && slices.Contains(p.members, actor)
}

// mayInto tells whether the actor's role grants p in a project: where it does not do so everywhere, in those that the actor made or leads,
// and of which the actor is a member.
func (o *oracle) mayInto(actor uuid.UUID, p domain.Permission, project *uuid.UUID) error {
	if project == nil || o.people[actor] == nil || o.grants(o.people[actor].role).Scope(p) == domain.All {
		return nil
	}
	into := the[uuid.UUID, judgedProject](o)[*project]
	return when(into == nil || into.by != actor && into.lead != actor && !o.in(actor, project), "the actor has nothing to do with the project")
}
