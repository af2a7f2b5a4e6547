package domain

import (
	"strings"
	"testing"
	"unicode"
)

// A name has no invisible characters and none that change the direction of text. A text of such characters alone is empty.
func TestInvisible(t *testing.T) {
	for _, r := range []rune{'\u00ad', '\u034f', '\u061c', '\u115f', '\u180e', '\u200b', '\u200d', '\u200e', '\u202e', '\u2060', '\u2066', '\u3164', '\ufe0f', '\ufeff', '\uffa0', '\U000e0041', '\U000e0100'} {
		if err := CheckName("/name", "Ann"+string(r)+"Admin"); err == nil {
			t.Errorf("a name with %U is accepted", r)
		}
		if err := CheckEmail("/email", "ann"+string(r)+"@example.org"); err == nil {
			t.Errorf("an address with %U is accepted", r)
		}
		if err := checkText("/title", " "+string(r), 1, 100); err == nil {
			t.Errorf("a text of %U alone is accepted", r)
		}
		if err := checkText("/title", "a"+string(r)+"b", 1, 100); err != nil {
			t.Errorf("%U in a text: %v", r, err)
		}
	}
	for r := range rune(unicode.MaxRune) {
		if unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp, unicode.Cc) && CheckName("/name", "a"+string(r)+"b") == nil {
			t.Errorf("a name with %U is accepted", r)
		}
	}
	if checkText("/title", "\u2800", 1, 100) == nil {
		t.Error("a text of an empty Braille cell alone is accepted")
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"Ann", "J.R.R. Tolkien", "Dr.Smith", "Anne-Marie d'Or", "Zoë Müller", "محمد", "李小龙", "Acme N.V.", "Acme 2.0", "St. John", "AT&T", "Ann (HR)"} {
		if err := CheckName("/name", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", " ", "a\nb", "a\rb", "a\u2028b", "a\x00b", "see https://evil.example/", "HTTP://X", "www.evil", "WWW.evil", "go to evil.example now",
		"EVIL.EXAMPLE", "evil.example/path", "ann@evil.example", "bücher.example", strings.Repeat("a", 201)} {
		if err := CheckName("/name", name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestCheckSlug(t *testing.T) {
	for _, name := range []string{"acme", "a-b", "123", "api-works", "administration", strings.Repeat("a", 63)} {
		if err := checkSlug("/slug", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "ab", "Acme", "-ab", "ab-", "a_b", "acmé", "api", "admin", "www", "kluis", "kluis-support", "xn--abc", "ab--c", strings.Repeat("a", 64)} {
		if err := checkSlug("/slug", name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	for _, name := range reservedSlugs {
		if !slug.MatchString(name) {
			t.Errorf("%q is reserved and is no slug: the reservation has no effect", name)
		}
	}
}
