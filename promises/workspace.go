package promises

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "workspace",
	bodies: map[string]func(x *tenant) object{
		"update-workspace": func(*tenant) object { return object{"name": uuid.NewString(), "plan": "pro"} },
		"sign-up": func(*tenant) object {
			slug := "w" + uuid.NewString()[:13]
			return object{"workspace": object{"slug": slug, "name": "n"}, "email": "a@" + slug + ".example", "full_name": "n",
				"password": newPassword(), "plan": "free", "region": "be", "language": "en"}
		},
		"verify-signup": func(*tenant) object { return object{"signup_id": uuid.NewString(), "code": "000000"} },
	},
	rule: func(o *oracle, e fact) error {
		switch e.event.(type) {
		case domain.WorkspaceCreated:
			return when(e.Position != 1, "it is there")
		case domain.WorkspaceRestored:
			return when(e.actor != uuid.Nil, "the actor is a member")
		}
		return o.may(e.actor, domain.UpdateWorkspace, true)
	},
	values: map[string][]string{"plan": domain.Plans},
})
