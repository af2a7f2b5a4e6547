package commands

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/unicode/norm"

	"github.com/kluis-eu/kluis/domain"
)

// uniqueName gives a name as it is stored, in NFC and with single spaces, and as it is compared.
func uniqueName(name string) domain.UniqueName {
	return domain.UniqueName{Name: strings.Join(strings.Fields(norm.NFC.String(name)), " "), NameKey: nameKey(name)}
}

// nameKey gives the form in which names are compared. Case, width and form of letters, the number of spaces, and invisible characters make no difference
// (NFKC_Casefold of the Unicode Standard, 3.13).
func nameKey(name string) string {
	seen := runes.Remove(runes.Predicate(domain.Ignorable)).String(name)
	folded := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(seen)))
	return strings.Join(strings.Fields(folded), " ")
}
