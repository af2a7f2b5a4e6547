package projections

import (
	"slices"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// Every noun of the domain has a read model that its events change, but for those that nobody looks up.
func TestEveryNounHasAModel(t *testing.T) {
	t.Parallel()
	folded := map[string]bool{"log": true, "security": true}
	for _, record := range everyPayload(t) {
		for _, m := range models {
			if _, changes := m.row(record); changes {
				noun, _, _ := strings.Cut(domain.TypeOf(record.Event), ".")
				folded[noun] = true
			}
		}
	}
	for _, noun := range domain.Nouns() {
		if !folded[noun] {
			t.Errorf("no event of %s changes a read model: projections/%s.go needs a line in models (projections/model.go)", noun, noun)
		}
	}
}

// The log and histories call things by their names.
func TestEveryNameIsTitled(t *testing.T) {
	t.Parallel()
	for noun := range explainedNouns() {
		var columns []string
		for _, m := range models {
			if m.table() == noun {
				columns = m.names()
			}
		}
		if _, is := titled[noun]; !is && (slices.Contains(columns, "name") || slices.Contains(columns, "title")) {
			t.Errorf("titled in projections/thing.go has no query for what a %s is called", noun)
		}
	}
}
