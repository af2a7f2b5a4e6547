package promises

import (
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "workspace",
	bodies: map[string]func(x *tenant) object{
		"update-workspace": func(*tenant) object {
			return object{"name": uuid.NewString(), "plan": "pro", "hourly_rate_cents": 8_500, "time_overlap": true, "time_locked_before": "1980-01-01"}
		},
		"sign-up": func(*tenant) object {
			slug := "w" + uuid.NewString()[:13]
			return object{"workspace": object{"slug": slug, "name": "n"}, "email": "a@" + slug + ".example", "full_name": "n",
				"password": newPassword(), "plan": "free", "region": "be", "language": "en"}
		},
		"erase-workspace": func(x *tenant) object { return object{"confirm": x.slug} },
		"verify-signup":   func(*tenant) object { return object{"signup_id": uuid.NewString(), "code": "000000"} },
	},
	rule: func(o *oracle, e fact) error {
		switch event := e.event.(type) {
		case domain.WorkspaceCreated:
			o.plan = event.Plan
			return when(e.Position != 1, "it is there")
		case domain.WorkspacePlanChanged:
			o.plan = event.Plan
			if e.actor == uuid.Nil {
				return nil // whoever operates Kluis
			}
		case domain.WorkspaceHoldPlaced, domain.WorkspaceHoldLifted:
			return when(e.actor != uuid.Nil, "the actor is a member")
		case domain.WorkspaceRestored, domain.WorkspaceMoved:
			return when(e.actor != uuid.Nil, "the actor is a member")
		case domain.WorkspaceTimeRulesChanged:
			rules := o.timeRules()
			if event.TimeOverlap != nil {
				rules.overlap = *event.TimeOverlap
			}
			if locked := event.TimeLockedBefore; locked.Set {
				rules.lockedBefore = time.Time{}
				if locked.Value != nil {
					rules.lockedBefore = must(time.ParseInLocation(time.DateOnly, string(*locked.Value), domain.Brussels))
				}
			}
		}
		return o.may(e.actor, domain.UpdateWorkspace, true)
	},
	values: map[string][]string{"plan": domain.Plans},
})

// timeRules are those by which time is written down.
type timeRules struct {
	overlap      bool
	lockedBefore time.Time
}

func (o *oracle) timeRules() *timeRules {
	only := the[struct{}, timeRules](o)
	if only[struct{}{}] == nil {
		only[struct{}{}] = &timeRules{}
	}
	return only[struct{}{}]
}
