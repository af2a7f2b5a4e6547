package promises

import (
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// Every noun of the domain has brought its part to the nets, and the samples themselves are right by its rule.
func TestEveryNounIsBrought(t *testing.T) {
	t.Parallel()
	for _, eventType := range domain.Types() {
		n, err := nounOf(eventType)
		if err != nil {
			t.Error(err)
		} else if n.rule == nil {
			t.Errorf("promises/%s.go brings no rule, and there is %s", n.name, eventType)
		}
	}
	x := newProcesses(t, 1, false)[0].newTenant(t)
	for _, op := range sampled(t) {
		x.ids(t, op)
	}
	x.judge(t)
	x.noDrift(t)
}
