package projections

import (
	"slices"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// Every noun of the domain has a read model that its events change, except the nouns that are never looked up.
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

// Every noun with a name has an entry in titled, so that the log and histories show the names of things.
func TestEveryNameIsTitled(t *testing.T) {
	t.Parallel()
	for noun := range explainedNouns() {
		var columns []string
		for _, m := range models {
			if m.table() == noun {
				columns = m.names()
			}
		}
		for _, column := range []string{"name", "title"} {
			if _, is := titled[noun]; !is && slices.Contains(columns, column) {
				t.Errorf("titled in projections/thing.go does not say how a %s is called: it needs the line\n\t%q: `select id, %s as title, '' as key from %s where id = any($1)`,",
					noun, noun, column, noun)
			}
		}
	}
}
