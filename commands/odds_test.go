package commands

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/totp"
)

// The table of SECURITY.md has the odds of somebody who guesses at one account all year, as often as the limits allow strangers.
func TestOdds(t *testing.T) {
	t.Parallel()
	const year, codes = 365 * 24 * time.Hour, 1_000_000
	rules := limit.Defaults()
	// most gives the largest number of guesses in a span; of several limits the strictest counts.
	most := func(span time.Duration, names ...string) float64 {
		least := math.Inf(1)
		for _, name := range names {
			r := rules[name]
			least = min(least, float64(r.Most)*max(1, span.Hours()/r.Span.Hours()))
		}
		return least
	}
	const day = 24 * time.Hour
	resets := func(span time.Duration) float64 {
		return min(codeAttempts*most(span, limit.ResetDay), most(span, limit.CodeRun))
	}
	again := func(span time.Duration) float64 { return codeAttempts * (1 + most(span, limit.ResetDay)) }
	odds := func(guesses float64, good, of int) string {
		return fmt.Sprintf("%.0f, %.2g %%", guesses, 100*(1-math.Pow(1-float64(good)/float64(of), guesses)))
	}
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		fmt.Sprintf("| a password that is one of a million | %s | %s |", odds(most(day, limit.LoginDay, limit.LoginRun), 1, codes), odds(most(year, limit.LoginDay, limit.LoginRun), 1, codes)),
		fmt.Sprintf("| a code for a new password | %s | %s |", odds(resets(day), 1, codes), odds(resets(year), 1, codes)),
		fmt.Sprintf("| the code of an invitation, which is open for a week | %s | %s |", odds(again(day), 1, codes), odds(again(invitationLife), 1, codes)),
		fmt.Sprintf("| a code of the second factor, with the right password | %s | %s |", odds(most(day, limit.FactorDay, limit.FactorRun), totp.Good, codes), odds(most(year, limit.FactorDay, limit.FactorRun), totp.Good, codes)),
	} {
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("SECURITY.md lacks\n%s", row)
		}
	}
}
