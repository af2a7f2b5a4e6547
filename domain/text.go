package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxBody is the longest description or comment, in code points. It is GitHub's limit, so that every text of GitHub can be imported.
const MaxBody = 65_536

// checkText refuses a text by its length in code points, and a text with U+0000, which Postgres cannot store.
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

// blank tells whether a character is drawn as nothing.
func blank(r rune) bool { return unicode.IsSpace(r) || Ignorable(r) || r == '\u2800' } // a Braille cell without dots

// Ignorable tells whether a character is drawn as nothing or changes the direction of the text around it: the property
// Default_Ignorable_Code_Point (Unicode Standard Annex 44), which includes all of Bidi_Control.
func Ignorable(r rune) bool {
	if unicode.In(r, unicode.White_Space, unicode.Prepended_Concatenation_Mark) ||
		r >= '\uFFF9' && r <= '\uFFFB' || r >= '\U00013430' && r <= '\U0001343F' { // in the category Cf, and drawn all the same
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

// firstError gives the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
