package promises

import (
	"fmt"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// Every noun of the domain has brought its part to the nets, and the samples themselves are right by its rule.
func TestEveryNounIsBrought(t *testing.T) {
	t.Parallel()
	everyNounBrought(t)
	x := newProcesses(t, 1, false)[0].newTenant(t)
	for _, op := range sampled(t) {
		x.ids(t, op)
	}
	x.judge(t)
	x.noDrift(t)
}

// everyNounBrought ends a test that needs something of every noun when one has brought nothing.
func everyNounBrought(t *testing.T) {
	t.Helper()
	for _, name := range domain.Nouns() {
		n, err := nounOf(name)
		if err == nil && n.rule == nil {
			err = fmt.Errorf("promises/%s.go brings no rule for its events", name)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
