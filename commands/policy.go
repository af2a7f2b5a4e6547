package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// UpdatePolicy asks two factors of these roles, and of no others; nil leaves it as it is. It is decided on the roster and appended to it: so
// it is in force for every request that begins after the answer, and for every command that is not in the log yet.
func (c *Commands) UpdatePolicy(ctx context.Context, r Request, twoFactorRoles *[]string) (Result[domain.Policy], error) {
	var before domain.Policy
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Policy
		if err := a.look(ctx, projections.LoadPolicy(&rows)); err != nil {
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
		events, err := before.Change(twoFactorRoles)
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Policies, before, done, err)
}
