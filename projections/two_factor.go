package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// secondFactor is what tells of a member m how they stand to two factors. The policy is as fresh as the roster, and
// whether they are on is no read model.
const (
	secondFactor = `exists (select from two_factor f where f.member_id = m.id and f.confirmed_at is not null) as two_factor,
		` + askedRoles + ` as two_factor_roles, coalesce((select slug from workspace), '') as slug`
	askedRoles = `coalesce((select two_factor_roles from policy), '{}')`
)

func (r actorRow) twoFactor() domain.TwoFactor {
	policy := domain.Policy{TwoFactorRoles: r.TwoFactorRoles}
	return domain.TwoFactor{Enabled: r.TwoFactor, Required: policy.RequiresTwoFactor(r.Role)}
}

// LoadTwoFactor is the query for the sealed secret of a member, when codes from it are asked for.
func LoadTwoFactor(into *[]string, member uuid.UUID) pg.Statement {
	return pg.Column(into, `select secret from two_factor where member_id = $1 and confirmed_at is not null`, member)
}

// LoadProposed is the query for a sealed secret that is not confirmed yet.
func LoadProposed(into *[]string, member uuid.UUID) pg.Statement {
	return pg.Column(into, `select secret from two_factor where member_id = $1 and confirmed_at is null`, member)
}
