// Package sheet writes cells that a spreadsheet shows as they are.
package sheet

import "strings"

// Cell keeps a spreadsheet from taking a text for a formula (OWASP, CSV Injection): an apostrophe stands before it.
func Cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(text)[0]) {
		return "'" + text
	}
	return text
}
