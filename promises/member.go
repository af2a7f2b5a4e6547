package promises

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name:  "member",
	thing: func(_ tester, x *tenant) uuid.UUID { return x.other.id },
	bodies: map[string]func(x *tenant) object{
		"invite-member": func(*tenant) object {
			return object{"email": uuid.NewString() + "@people.example", "full_name": "n", "role": "member", "language": "fr"}
		},
		"accept-invitation": func(x *tenant) object {
			return object{"workspace": x.slug, "email": x.email, "code": "000000", "password": newPassword()}
		},
		"update-member": func(*tenant) object { return object{"role": "member", "hourly_rate_cents": 9_900} },
		"update-me":     func(*tenant) object { return object{"language": "nl"} },
	},
	rule: judgeMember,
	stream: func(e domain.Event, id uuid.UUID) string {
		if _, ok := e.(interface{ Member() uuid.UUID }); ok {
			return domain.RosterStream
		}
		return domain.AccountStream(id)
	},
	values: map[string][]string{"role": roleNames(), "language": domain.Languages},
	races: map[string]race{
		"work for who is out": func(t tester, x *tenant) (one, other request) {
			return request{"POST", "/api/members/" + x.other.id.String() + "/deactivate", nil}, request{"PUT", taskPath(x.newTask(t), "assignees", x.other.id), nil}
		},
	},
})

func roleNames() (names []string) {
	for _, role := range domain.BuiltInRoles {
		names = append(names, role.Name)
	}
	return names
}

// judgeMember is the rule of the roster. Events of accounts are judged no further than that each is of a member.
func judgeMember(o *oracle, e fact) error {
	about, ok := e.event.(interface{ Member() uuid.UUID })
	if !ok {
		return when(len(o.people) == 0, "there are no members yet")
	}
	err := o.member(e.actor, about.Member(), e.event)
	o.people.apply(e.event)
	return firstError(err, when(o.people.activeAdmins() == 0, "no active admin is left"))
}

func (o *oracle) member(actor, subject uuid.UUID, event domain.Event) error {
	who := o.people[subject]
	admin := o.may(actor, domain.UpdateMember, true)
	switch e := event.(type) {
	case domain.MemberAdded:
		return when(len(o.people) > 0, "there are members already")
	case domain.MemberInvited:
		return firstError(o.may(actor, domain.CreateMember, true), o.gives(actor, e.Role), when(who != nil && who.status != "placeholder", "it is there"))
	case domain.MemberPlaced:
		return firstError(o.may(actor, domain.CreateImport, true), when(who != nil, "it is there"))
	case domain.MemberJoined:
		return when(actor != subject || who == nil || who.status != "invited", "nobody was invited")
	case domain.MemberRoleChanged:
		return firstError(admin, o.gives(actor, e.Role), when(who.status == "removed" || who.role == e.Role, "it is so already"))
	case domain.MemberRateChanged:
		return firstError(admin, when(who == nil || who.status == "removed", "there is no such member"))
	case domain.MemberDeactivated:
		return firstError(admin, when(who.status != "active", "the member is not active"))
	case domain.MemberReactivated:
		return firstError(admin, when(who.status != "deactivated", "the member is not deactivated"))
	case domain.MemberErased:
		return o.may(actor, domain.DeleteMember, true)
	case domain.MemberRemoved:
		return firstError(o.may(actor, domain.DeleteMember, true), when(who.status == "removed", "it is so already"))
	}
	return nil
}

// gives tells whether the actor's role grants all that a role does, which is there.
func (o *oracle) gives(actor uuid.UUID, role string) error {
	_, builtIn := domain.BuiltInRole(role)
	id, _ := uuid.Parse(role)
	own := the[uuid.UUID, judgedRole](o)[id]
	return firstError(when(!builtIn && (own == nil || own.gone), "there is no such role"), o.covers(actor, o.grants(role)))
}

// roster is who has which role and status, by the log alone.
type roster map[uuid.UUID]*struct{ role, status string }

func (r roster) apply(e domain.Event) {
	switch e := e.(type) {
	case domain.MemberAdded:
		r[e.MemberID] = &struct{ role, status string }{e.Role, "active"}
	case domain.MemberInvited:
		r[e.MemberID] = &struct{ role, status string }{e.Role, "invited"}
	case domain.MemberPlaced:
		r[e.MemberID] = &struct{ role, status string }{"viewer", "placeholder"}
	case domain.MemberJoined:
		r[e.MemberID].status = "active"
	case domain.MemberReactivated:
		r[e.MemberID].status = "active"
	case domain.MemberRoleChanged:
		r[e.MemberID].role = e.Role
	case domain.MemberDeactivated:
		r[e.MemberID].status = "deactivated"
	case domain.MemberErased:
		r[e.MemberID].status = "removed"
	case domain.MemberRemoved:
		r[e.MemberID].status = "removed"
	}
}

func (r roster) activeAdmins() (n int) {
	for _, m := range r {
		if m.role == "admin" && m.status == "active" {
			n++
		}
	}
	return n
}

// can tells whether all these can be given work.
func (r roster) can(ids ...uuid.UUID) error {
	for _, id := range ids {
		if who := r[id]; who == nil || who.status != "active" && who.status != "invited" && who.status != "placeholder" {
			return fmt.Errorf("%s can have no work", id)
		}
	}
	return nil
}
