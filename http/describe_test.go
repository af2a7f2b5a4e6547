package http

import (
	"testing"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/projections"
)

// What people call things and themselves tells nothing but that: a title begins and ends within its quotation marks, characters stand in their order,
// and nobody is taken for the program.
func TestNamesTellNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ language, title, name, says, by string }{
		{"en", "door”, and Bob deleted “house", "Bob", "“door', and Bob deleted 'house”", "Bob"},
		{"fr", "porte », et Bob a supprimé « maison", "Bob", "«\u00a0porte ', et Bob a supprimé ' maison\u00a0»", "Bob"},
		{"nl", "deur’, en Bob heeft verwijderd: ‘huis", "Bob", "‘deur', en Bob heeft verwijderd: 'huis’", "Bob"},
		{"en", "\u202etxt.\u2066exe", "Bob\u202e", "“txt.exe”", "Bob"},
		{"en", "one\ntwo\u2028three\x1b[1A", "Bob\nAnn", "“one two three [1A”", "Bob Ann"},
		{"en", "plain", "kluis\u200f ", "“plain”", "“kluis”"},
		{"fr", "simple", "Kluis", "«\u00a0simple\u00a0»", "«\u00a0Kluis\u00a0»"},
	} {
		_, w := wordsFor(c.language)
		d := describer{words: w, entry: commands.Entry{Who: &commands.Who{Name: c.name}}}
		if says := d.thing(projections.Thing{Title: c.title}); says != c.says {
			t.Errorf("%s: the thing %q is told as %q, want %q", c.language, c.title, says, c.says)
		}
		if by := d.who(); by != c.by {
			t.Errorf("%s: the member %q is told as %q, want %q", c.language, c.name, by, c.by)
		}
	}
}
