package password

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestCheck(t *testing.T) {
	context := []string{"acme-fietsen", "Acme Fietsen & Test B.V.", "zoë.janssens", "ab"}
	for password, want := range map[string]error{
		"correct horse battery staple":        nil,
		"wachtwoord van ons ab":               nil, // context of less than 4 letters does not count
		"a test of patience":                  nil, // one of several words, with enough around it
		"hond loopt ver":                      nil,
		"пароль-42":                           nil,
		"🐎🔋📎🐴🐎🔋📎!":                            nil,
		"q9vyt2ke":                            nil,
		strings.Repeat("zin van 16 teken", 8): nil,
		strings.Repeat("𝔘x", 64):              nil,
		strings.Repeat("ab", 512):             nil,
		"tab\tand\x00nul are fine":            nil,

		"":        ErrShort,
		"q9vyt2k": ErrShort,
		"🐎🔋📎🐴🐎🔋📎": ErrShort,
		"e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301": ErrShort, // 12 code points typed, 6 once normalised
		strings.Repeat("ab", 512) + "c":              ErrLong,
		strings.Repeat("𝔘", 257):                     ErrLong,
		"q9vyt2ke\xff":                               ErrNotText,
		"\xed\xa0\x80 surrogate":                     ErrNotText,

		"password":      ErrCommon,
		"PassWord":      ErrCommon,
		"Password1":     ErrCommon,
		"Password123!":  ErrCommon,
		"**iloveyou1**": ErrCommon,
		"12345678":      ErrCommon,
		"1q2w3e4r":      ErrCommon,
		"azertyuiop":    ErrCommon,
		"welkom01":      ErrCommon,
		"zzzzzzzzzzzzz": ErrCommon,
		"ééééééééé":     ErrCommon,
		"        ":      ErrCommon,
		"!!!!!!!!":      ErrCommon,

		"acme-fietsen":                  ErrContext,
		"ACME-Fietsen":                  ErrContext,
		"my own acme-fietsen secret":    ErrContext,
		"my own AcmeFietsen secret":     ErrContext,
		"Zoe\u0308.Janssens":            ErrContext, // another spelling of ë
		"xx zoë.janssens yyyyyyyyyyyyy": ErrContext,
		"acme2024!":                     ErrContext,
		"Fietsen-acme-99":               ErrContext,
	} {
		if err := Check(password, context...); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", password, err, want)
		}
	}
	if err := Check("correct horse battery staple", "", " ", "---", "&"); err != nil {
		t.Errorf("context without a word: %v", err)
	}
	if err := Check("STRASSE-winkel", "straße"); !errors.Is(err, ErrContext) {
		t.Errorf("case folding of ß: %v", err)
	}
}

// What Check accepts, Hash can take; no error shows the password; and its bounds are what its comment says.
func TestCheckProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.OneOf(rapid.StringN(0, 40, -1), rapid.StringN(100, 300, -1), rapid.StringMatching(`[a-z0-9!]{6,10}`)).Draw(t, "password")
		err := Check(password, rapid.String().Draw(t, "context"))
		text, errHash := normalise(password)
		if err == nil && (errHash != nil || utf8.RuneCountInString(text) < 8 || len(password) > 1024) {
			t.Fatalf("accepted, but %v", errHash)
		}
		if utf8.RuneCountInString(password) > 128 && len(password) <= 1024 && errors.Is(err, ErrLong) {
			t.Fatal("refused for its length")
		}
		if err != nil && len(password) > 3 && strings.Contains(err.Error(), password) {
			t.Fatalf("shows the password: %v", err)
		}
	})
}

func TestCommonList(t *testing.T) {
	if n := len(commonSet()); n != 17950 {
		t.Errorf("the list has %d entries, COMMON.md says 17950", n)
	}
	if len(commonList) > 150<<10 {
		t.Errorf("the list has %d bytes", len(commonList))
	}
	for word := range commonSet() {
		if utf8.RuneCountInString(word) < minLength || fold(word) != word {
			t.Errorf("%q can never match", word)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	h := hasher(b, Default, 1, 0)
	for b.Loop() {
		if err := h.VerifyNone(b.Context(), "x", "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"twelve blue bicycles", "twelve blue bicycles", true},
		{"caf\u00e9 au lait", "cafe\u0301 au lait", true}, // one text, typed on two keyboards
		{"twelve blue bicycles", "Twelve blue bicycles", false},
		{"twelve blue bicycles", "twelve blue bicycles ", false},
		{"\xff", "\xff", false}, // which are no passwords
	} {
		if got := Same(c.a, c.b); got != c.same {
			t.Errorf("%q and %q: %t", c.a, c.b, got)
		}
	}
}
