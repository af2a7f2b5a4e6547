package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// CreateRole creates a role that the workspace defines itself.
func (c *Commands) CreateRole(ctx context.Context, r Request, name string, grants domain.Grants) (Result[domain.OwnRole], error) {
	id, named := uuid.Must(uuid.NewV7()), uniqueName(name)
	var others domain.RoleNames
	return create(ctx, c, r, projections.Roles, domain.CreateRole, id, func(a *attempt) (decision, error) {
		events, err := domain.NewRole(id, named, grants, a.by.Role.Grants, others)
		return decision{events: events, version: a.by.Roster}, err
	}, projections.FindRoleName(&others, id, named.NameKey))
}

// UpdateRole gives an own role another name, or other grants, which count at once for every member with the role. nil changes nothing.
func (c *Commands) UpdateRole(ctx context.Context, r Request, id uuid.UUID, name *string, grants *domain.Grants) (Result[domain.OwnRole], error) {
	var named domain.UniqueName
	var wanted *domain.UniqueName
	if name != nil {
		named = uniqueName(*name)
		wanted = &named
	}
	var others domain.RoleNames
	return changeOne(ctx, c, r, projections.Roles, domain.UpdateRole, id, func(a *attempt, role domain.OwnRole) (decision, error) {
		events, err := role.Change(wanted, grants, a.by.Role.Grants, others)
		return decision{events: events}, err
	}, projections.FindRoleName(&others, id, named.NameKey))
}

// DeleteRole deletes an own role that nobody has. A command that gives somebody the role at the same instant writes to the roster, too, so one of the two
// decides again.
func (c *Commands) DeleteRole(ctx context.Context, r Request, id uuid.UUID) (Result[domain.OwnRole], error) {
	holders := 0
	var policies []domain.Policy
	return changeOne(ctx, c, r, projections.Roles, domain.DeleteRole, id, func(a *attempt, role domain.OwnRole) (decision, error) {
		var policy domain.Policy
		if len(policies) > 0 {
			policy = policies[0]
		}
		events, err := role.Delete(a.by.Role.Grants, holders, policy)
		return decision{events: events}, err
	}, projections.CountHolders(&holders, id), projections.LoadPolicy(&policies))
}

// mayGive gives the id of a role that the actor wants to give: the name of a built-in role, or the id of an own role in found. It refuses a role that
// does not exist, or that has a grant which the actor lacks.
func mayGive(by projections.Actor, role string, found []domain.OwnRole) (string, error) {
	wanted, builtIn := domain.BuiltInRole(role)
	switch {
	case len(found) > 0:
		wanted = found[0].Role()
	case !builtIn:
		return "", domain.InvalidField("/role", "there is no such role")
	}
	return wanted.ID, by.Role.Grants.MayGive(wanted.Grants)
}
