package token

import (
	"regexp"
	"strings"
	"testing"
)

func TestRecoveryCode(t *testing.T) {
	form := regexp.MustCompile(`^[a-z2-7]{5}-[a-z2-7]{5}$`)
	seen, letters := map[string]bool{}, map[rune]bool{}
	for range 1000 {
		code := NewRecoveryCode()
		if !form.MatchString(code) || seen[code] {
			t.Fatalf("%q", code)
		}
		seen[code] = true
		for _, r := range code {
			letters[r] = true
		}
		if typed := Typed(" " + strings.ToUpper(strings.ReplaceAll(code, "-", " - "))); typed != strings.ReplaceAll(code, "-", "") || !IsRecoveryCode(typed) {
			t.Fatalf("%q is typed %q", code, typed)
		}
	}
	if len(letters) != 33 {
		t.Errorf("%d letters", len(letters))
	}
	for _, no := range []string{"", "123456", "abcdefghi", "abcdefghijk", "abcdefghi1", "abcdefghi0", "abcdefghié", "abcde\nfghi", "abcdefghıj", strings.Repeat("a", 1<<20)} {
		if IsRecoveryCode(Typed(no)) {
			t.Errorf("%.20q is one", no)
		}
	}
}
