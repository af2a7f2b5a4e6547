package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxBody is the longest text that people write about something (a description, a comment), in code points: what GitHub,
// from where such texts are imported, takes.
const MaxBody = 65_536

// Texts are counted in Unicode code points. Postgres cannot hold U+0000, and nobody means it.
func checkText(pointer, text string, shortest, longest int) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return InvalidField(pointer, "must be UTF-8 text without NUL characters")
	}
	if n := utf8.RuneCountInString(text); n > longest {
		return InvalidField(pointer, "must have at most %d characters, has %d", longest, n)
	}
	if shortest > 0 && strings.TrimFunc(text, blank) == "" {
		return InvalidField(pointer, "must not be empty")
	}
	return nil
}

// blank says whether a character leaves no mark where it stands.
func blank(r rune) bool { return unicode.IsSpace(r) || Ignorable(r) || r == '\u2800' } // a Braille cell without dots

// Ignorable says whether a character is drawn as nothing, or turns the text around it: Default_Ignorable_Code_Point
// (Unicode Standard Annex 44), which holds all of Bidi_Control.
func Ignorable(r rune) bool {
	if unicode.In(r, unicode.White_Space, unicode.Prepended_Concatenation_Mark) ||
		r >= '\uFFF9' && r <= '\uFFFB' || r >= '\U00013430' && r <= '\U0001343F' { // of Cf, and yet drawn
		return false
	}
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

func oneOf(pointer, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return InvalidField(pointer, "must be one of %s", strings.Join(allowed, ", "))
}

// firstError gives the first refusal of several checks.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
