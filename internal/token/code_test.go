package token

import (
	"regexp"
	"testing"
)

// Codes have 6 digits, and each digit comes up equally often at each place: with 50,000 codes a place's digit is
// expected 5,000 times, give or take 67; 500 off is more than 7 standard deviations.
func TestNewCode(t *testing.T) {
	const n = 50_000
	form := regexp.MustCompile(`^[0-9]{6}$`)
	var count [6][10]int
	seen := map[string]bool{}
	for range n {
		code := NewCode()
		if !form.MatchString(code) {
			t.Fatalf("code %q", code)
		}
		seen[code] = true
		for place, digit := range []byte(code) {
			count[place][digit-'0']++
		}
	}
	for place, digits := range count {
		for digit, got := range digits {
			if got < n/10-500 || got > n/10+500 {
				t.Errorf("digit %d at place %d came up %d times in %d", digit, place, got, n)
			}
		}
	}
	if len(seen) < 48_000 { // expected 48,770
		t.Errorf("%d different codes in %d", len(seen), n)
	}
}
