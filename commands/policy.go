package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// UpdatePolicy requires a second factor of these roles, and of no others; nil changes nothing. The policy is decided on the roster and appended to it. So
// it is in force for every request that begins after the answer, and for every command that is not in the log yet. The actor gives the password once
// more, so that somebody who found an open session cannot change the policy.
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
		if err == nil && events != nil && !shown { // a request that changes nothing, or is repeated, needs no password
			err = c.reauthenticate(ctx, a.by, r.Origin, plain)
			shown = err == nil
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Policies, before, done, err)
}

// reauthenticate compares the password that the actor gives once more.
func (c *Commands) reauthenticate(ctx context.Context, by projections.Actor, from Origin, plain string) error {
	if plain == "" {
		return domain.InvalidField("/password", "must be your password, once more")
	}
	me, err := c.self(ctx, by, from)
	if err != nil {
		return err
	}
	return c.compareLimited(ctx, me, func() error { return c.comparePassword(ctx, me, plain, "/password") })
}
