// Package shown writes the texts of others so that whatever shows them shows them as texts.
package shown

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Cell keeps a spreadsheet from taking a text for a formula (OWASP, CSV Injection), by an apostrophe before it.
func Cell(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + text
	}
	return text
}

// Line gives a text in one line, whose characters stand in their order. Spaces and control characters become single spaces, and characters that turn the
// direction of a text (Bidi_Control, Unicode Standard Annex 9) are left out.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}
