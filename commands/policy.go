package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// UpdatePolicy asks two factors of these roles, and of no others; nil leaves it as it is. It is decided on the roster and appended to it: so
// it is in force for every request that begins after the answer, and for every command that is not in the log yet. It
// takes the actor's password once more: whoever found an open session locks nobody out, and makes nothing easier either.
func (c *Commands) UpdatePolicy(ctx context.Context, r Request, twoFactorRoles *[]string, plain string) (Result[domain.Policy], error) {
	var before domain.Policy
	shown := false
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Policy
		var enrolled int
		var own []string
		if err := a.read(ctx, projections.LoadPolicy(&rows), projections.CountEnrolledAdmins(&enrolled), projections.RoleIDs(&own)); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, domain.UpdateWorkspace); err != nil {
			return plan{}, err
		}
		if err := inSession(a.by); err != nil {
			return plan{}, err
		}
		before = domain.Policy{}
		if len(rows) > 0 {
			before = rows[0]
		}
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := before.Change(twoFactorRoles, a.by.TwoFactor, enrolled, own)
		if err == nil && events != nil && !shown { // what changes nothing, or is repeated, asks for nothing
			err = c.showAgain(ctx, a.by, r.Origin, plain)
			shown = err == nil
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Policies, before, done, err)
}

// showAgain compares the password that an actor shows once more.
func (c *Commands) showAgain(ctx context.Context, by projections.Actor, from Origin, plain string) error {
	if plain == "" {
		return domain.InvalidField("/password", "must be your password, once more")
	}
	me, err := c.self(ctx, by, from)
	if err != nil {
		return err
	}
	return c.compareLimited(ctx, me, func() error { return c.showPassword(ctx, me, plain, "/password") })
}
