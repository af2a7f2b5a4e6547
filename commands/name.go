package commands

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/unicode/norm"

	"github.com/kluis-eu/kluis/domain"
)

// uniqueName is a name as it is stored, composed and with single spaces, and as it is compared.
func uniqueName(name string) domain.UniqueName {
	return domain.UniqueName{Name: strings.Join(strings.Fields(norm.NFC.String(name)), " "), NameKey: nameKey(name)}
}

// nameKey is a name as people compare it: without regard to case, to width and form of letters, to spaces around and between
// words, and to what is drawn as nothing (NFKC_Casefold of the Unicode Standard, 3.13).
func nameKey(name string) string {
	seen := runes.Remove(runes.Predicate(domain.Ignorable)).String(name)
	folded := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(seen)))
	return strings.Join(strings.Fields(folded), " ")
}
