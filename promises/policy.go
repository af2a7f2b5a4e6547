package promises

import (
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "policy",
	bodies: map[string]func(x *tenant) object{
		"update-policy": func(x *tenant) object {
			return object{"two_factor_roles": [][]string{{}, {"auditor"}}[rand.IntN(2)], "password": x.password}
		},
	},
	rule: func(o *oracle, e fact) error {
		if o.may(e.actor, domain.DeleteRole, true) == nil {
			return nil // of a role that is gone nothing is asked
		}
		return o.may(e.actor, domain.UpdateWorkspace, true)
	},
	stream: func(domain.Event, uuid.UUID) string { return domain.RosterStream },
})
