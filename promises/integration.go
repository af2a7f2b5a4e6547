package promises

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "integration",
	thing: func(t tester, x *tenant) uuid.UUID {
		return decode[domain.Integration](t, x.call(t, "POST", "/api/integrations", newIntegration(x)).want(t, 201)).ID
	},
	bodies: map[string]func(x *tenant) object{"connect-integration": newIntegration},
	rule:   judgeIntegration,
})

func newIntegration(*tenant) object {
	return object{"provider": "p", "name": "n", "access_token": "a", "refresh_token": "r", "expires_at": time.Now().Add(time.Hour), "scopes": []string{"s"}}
}

type judgedIntegration struct {
	by   uuid.UUID
	gone bool
}

func judgeIntegration(o *oracle, e fact) error {
	integrations := the[uuid.UUID, judgedIntegration](o)
	k := integrations[e.id]
	if _, ok := e.event.(domain.IntegrationConnected); ok {
		integrations[e.id] = &judgedIntegration{by: e.actor}
		return firstError(o.may(e.actor, domain.CreateIntegration, true), when(k != nil, "it is there"))
	}
	if k == nil || k.gone {
		return fmt.Errorf("there is no such integration")
	}
	k.gone = true
	return o.may(e.actor, domain.DeleteIntegration, k.by == e.actor)
}
