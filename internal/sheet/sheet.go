// Package sheet writes cells that a spreadsheet shows as text.
package sheet

import (
	"strings"
	"unicode/utf8"
)

// Cell keeps a spreadsheet from taking a text for a formula (OWASP, CSV Injection), by an apostrophe before it.
func Cell(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + text
	}
	return text
}
