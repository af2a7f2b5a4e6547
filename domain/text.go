package domain

import (
	"strings"
	"unicode/utf8"
)

// Texts are counted in Unicode code points. Postgres cannot hold U+0000, and nobody means it.
func checkText(pointer, text string, shortest, longest int) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return InvalidField(pointer, "must be UTF-8 text without NUL characters")
	}
	if n := utf8.RuneCountInString(text); n > longest {
		return InvalidField(pointer, "must have at most %d characters, has %d", longest, n)
	}
	if shortest > 0 && strings.TrimSpace(text) == "" {
		return InvalidField(pointer, "must not be empty")
	}
	return nil
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
