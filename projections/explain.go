package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Access says which actions a member may do with a thing, and why.
type Access struct {
	Member   domain.Member
	Role     domain.Role // with its grants; for the caller, the grants in force
	Gone     bool
	Parts    domain.Parts
	Verdicts []domain.Verdict
}

// thingOf gives the domain.Thing for a member, without a check of access, and whether the thing is deleted.
type thingOf func(ctx context.Context, p *Projections, by Actor, member, id uuid.UUID) (t domain.Thing, gone bool, err error)

// explained is the part of a noun that explanations need.
type explained interface {
	Name() string
	checkVisible(ctx context.Context, p *Projections, by Actor, id uuid.UUID) error
	thing(ctx context.Context, p *Projections, by Actor, member, id uuid.UUID) (t domain.Thing, gone bool, err error)
}

// explainedNouns asserts models to be explained at run time; this line lets the compiler check that a noun is.
var _ explained = Tasks

// explainedNouns are all nouns, by the resource that grants name.
func explainedNouns() map[string]explained {
	all := map[string]explained{}
	for _, m := range models {
		if n, is := m.(explained); is {
			all[n.Name()] = n
		}
	}
	return all
}

// Access explains which actions a member may do with a thing. The actor must see the member, and see or have seen the thing. Without an id, it
// explains the actions on the resource in general.
func (p *Projections) Access(ctx context.Context, by Actor, member uuid.UUID, resource string, id *uuid.UUID) (Access, Mark, error) {
	var rows []MemberRow
	mark, err := p.Fresh(ctx, by.Workspace, LoadMember(&rows, by, member))
	switch {
	case err != nil:
		return Access{}, mark, err
	case len(rows) == 0 || !rows[0].Visible:
		return Access{}, mark, domain.Missing("member")
	}
	a := Access{Member: rows[0].Member, Role: rows[0].Held(), Verdicts: []domain.Verdict{}}
	if member == by.Member {
		a.Role = by.Role
	}
	thing := domain.Thing{Resource: resource}
	if id != nil {
		if thing, a.Gone, err = p.thing(ctx, by, member, resource, *id); err != nil {
			return Access{}, mark, err
		}
		a.Parts = thing.Parts
	}
	for _, permission := range domain.Permissions {
		if permission.Resource != resource || id != nil && permission.Action == "create" {
			continue
		}
		verdict := a.Role.ExplainAny(permission)
		if id != nil {
			verdict = a.Role.Explain(permission.Action, thing)
		}
		a.Verdicts = append(a.Verdicts, a.barred(rows[0], by, permission, verdict))
	}
	return a, mark, nil
}

// thing gives a thing that the actor sees or saw.
func (p *Projections) thing(ctx context.Context, by Actor, member uuid.UUID, resource string, id uuid.UUID) (domain.Thing, bool, error) {
	n, there := explainedNouns()[resource]
	if !there {
		return domain.Thing{}, false, domain.InvalidField("/id", "a workspace has one %s: leave the id out", resource)
	}
	if err := n.checkVisible(ctx, p, by, id); err != nil {
		return domain.Thing{}, false, err
	}
	return n.thing(ctx, p, by, member, id)
}

// barred corrects a verdict for the status of the member, for two factors, for a deleted thing and for an API token.
func (a Access) barred(m MemberRow, by Actor, p domain.Permission, v domain.Verdict) domain.Verdict {
	less := false
	if m.ID == by.Member {
		_, less = by.Role.Grants.Lacks(domain.Grants{{Resource: p.Resource, Action: p.Action, Scope: by.Granted.Scope(p)}})
	}
	switch {
	case m.Status != domain.Active:
		v.Allowed, v.Why = false, "The member is "+m.Status+", and may do nothing."
	case m.RequiresTwoFactor() && !m.TwoFactor:
		v.Allowed, v.Why = false, "The role requires two factors, and the member has not turned them on."
	case a.Gone:
		v.Allowed, v.Why = false, "The thing is deleted: only its history remains, and a restore where there is one. "+v.Why
	case less:
		v.Why = "The API token grants less than the role. " + v.Why
	}
	return v
}

// checkVisible refuses a thing that the actor neither sees nor saw.
func (n *Noun[T]) checkVisible(ctx context.Context, p *Projections, by Actor, id uuid.UUID) error {
	_, _, err := n.GetGone(ctx, p, by, id)
	return err
}

// thing is a thingOf. The row of a decision has all facts about a member and a thing.
func (n *Noun[T]) thing(ctx context.Context, p *Projections, by Actor, member, id uuid.UUID) (t domain.Thing, gone bool, err error) {
	admin, _ := domain.BuiltInRole(domain.Admin)
	var rows []Row[T]
	if _, err := p.Fresh(ctx, by.Workspace, n.Load(&rows, Actor{Workspace: by.Workspace, Member: member, Role: admin}, id)); err != nil {
		return t, false, err
	}
	if len(rows) == 0 {
		return t, false, domain.Missing(n.name)
	}
	row := rows[0]
	var within *domain.Thing
	gone = row.Gone
	if row.WithinID != uuid.Nil {
		other, otherGone, err := n.sight.Within.thing(ctx, p, by, member, row.WithinID)
		if err != nil {
			return t, false, err
		}
		within, gone = &other, gone || otherGone
	}
	return domain.ThingTo(member, n.name, any(row.State).(domain.WithParts), row.Reach.InProject, within), gone, nil
}
