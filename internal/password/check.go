package password

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Reasons why a password is refused. The texts are for the person who chose it.
var (
	ErrNotText = errors.New("the password is not valid Unicode")
	ErrShort   = errors.New("the password is too short")
	ErrLong    = errors.New("the password is too long")
	ErrCommon  = errors.New("the password is one of those that are tried first")
	ErrContext = errors.New("the password says who it belongs to")
)

const (
	minLength  = 8    // code points, after normalisation
	maxBytes   = 1024 // as typed: at least 256 code points
	minContext = 4    // letters and digits that a word of the context must have to count
)

// Check tells whether a password may be chosen: at least 8 code points and at most 1024 bytes, of any Unicode, without rules on its composition
// (NIST SP 800-63B, section 5.1.1.2). It refuses common and breached passwords, and those built on their context: the workspace's slug
// and name, the local part of the e-mail address. Case makes no difference. It asks no other service. The error is one of this package's
// Err values.
func Check(password string, context ...string) error {
	text, err := normalise(password)
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(text); n < minLength {
		return fmt.Errorf("%w: %d characters, at least %d are needed", ErrShort, n, minLength)
	}
	text = fold(text)
	if common(text) {
		return ErrCommon
	}
	if aboutContext(text, context) {
		return ErrContext
	}
	return nil
}

// Same tells whether two passwords are one, as Hasher compares them.
func Same(a, b string) bool {
	first, errFirst := normalise(a)
	second, errSecond := normalise(b)
	return errFirst == nil && errSecond == nil && first == second
}

// normalise gives equal texts equal bytes, and refuses what cannot be a password at all.
func normalise(password string) (string, error) {
	if len(password) > maxBytes {
		return "", fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrLong, len(password), maxBytes)
	}
	if !utf8.ValidString(password) {
		return "", ErrNotText
	}
	return norm.NFC.String(password), nil
}

// fold makes texts equal that differ in case only.
func fold(text string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(text)))
}

// aboutContext tells whether a folded password contains one of the context texts, or consists of their words and little else. A single word of
// "Acme Test Team" is refused only when little is left without it: "acme2024" is refused, and "a test of patience" is not.
func aboutContext(password string, context []string) bool {
	rest := password
	for _, c := range context {
		c = fold(strings.TrimSpace(c))
		words := strings.FieldsFunc(c, func(r rune) bool { return !wordRune(r) })
		if long(c) && (strings.Contains(password, c) || strings.Contains(password, strings.Join(words, ""))) {
			return true
		}
		slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) }) // "fietsen" before "fiets"
		for _, w := range words {
			if long(w) {
				rest = strings.ReplaceAll(rest, w, "")
			}
		}
	}
	return rest != password && utf8.RuneCountInString(rest) < minLength
}

// long tells whether a context text has enough letters and digits to count.
func long(text string) bool {
	n := 0
	for _, r := range text {
		if wordRune(r) {
			n++
		}
	}
	return n >= minContext
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)
}
