package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Policies is the read model of the policy: no row, or one.
var Policies = newModel("policy",
	func(uuid.UUID) string { return domain.RosterStream },
	func(r domain.Record) (uuid.UUID, bool) {
		if r.Stream != domain.RosterStream {
			return uuid.Nil, false
		}
		return domain.PolicyOf(r)
	},
	(*domain.Policy).Apply,
	func(p domain.Policy) uuid.UUID { return p.ID })

const selectPolicy = `select id, two_factor_roles, updated_at, version, position from policy`

// GetPolicy answers with the policy of the workspace; the zero policy requires nothing. The policy is in the roster, so it is fresh.
func (p *Projections) GetPolicy(ctx context.Context, w pg.Workspace) (policy domain.Policy, mark Mark, err error) {
	var rows []domain.Policy
	mark, err = p.Fresh(ctx, w, LoadPolicy(&rows))
	if len(rows) > 0 {
		policy = rows[0]
	}
	return policy, mark, err
}

// PolicyAsOf answers with the policy at a moment.
func (p *Projections) PolicyAsOf(ctx context.Context, w pg.Workspace, at time.Time) (domain.Policy, Mark, error) {
	return Policies.then(ctx, p, w, uuid.Nil, at)
}

// LoadPolicy is the query for a decision on the policy.
func LoadPolicy(into *[]domain.Policy) pg.Statement {
	return pg.Rows(into, selectPolicy)
}
