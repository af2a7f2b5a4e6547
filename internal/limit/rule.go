package limit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of the limits. "From one network" means from a /24, a /64 or, three times as often, a /48.
const (
	SignupIP     = "signup_ip"         // sign-ups from one network
	SignupDomain = "signup_domain"     // sign-ups with addresses of one organisation: see Organisation
	LoginIP      = "login_ip"          // failed logins, and wrong codes, from one network
	LoginAccount = "login_account"     // failed logins to one account in one circle; then it is locked, see Rule
	LoginDay     = "login_day"         // the same over a day
	LoginRun     = "login_run"         // the same without a right one in between
	FactorDay    = "factor_day"        // wrong codes of one account's second factor, over a day
	FactorRun    = "factor_run"        // the same without a right one in between
	CodeRun      = "code_run"          // wrong codes for a new password of one account in one circle, without a right one in between
	ForgotIP     = "forgot_ip"         // requests from one network for a code for a new password
	ResetAccount = "reset_account"     // requests in one circle for a code for a new password of one account
	ResetDay     = "reset_account_day" // the same over a day
	InviteEmail  = "invite_email"      // invitations of one address, by all workspaces
	InviteMember = "invite_member"     // invitations by one member
	InviteDay    = "invite_workspace"  // invitations by one workspace
	Language     = "language"          // changes of one member's language, each of which makes commands under way decide again
	SecurityPack = "security_pack"     // the documents about how Kluis is run: requests from one network, and mails to one address
	APIMember    = "api_member"        // requests of one member, in one process
)

// Rule allows at most Most in any window of Span.
//
// LoginAccount is different: the failure that reaches Most locks the subject for Span. When that happens again within a day, it locks for twice
// and then for four times as long. Nothing counts while the subject is locked, so that nobody can make that longer.
type Rule struct {
	Most int
	Span time.Duration
}

// Rules are the limits in force, by name. A name without a rule is not limited.
type Rules map[string]Rule

// Defaults returns the limits that are in force unless a setting says otherwise.
func Defaults() Rules {
	const day, month = 24 * time.Hour, 30 * 24 * time.Hour
	return Rules{
		SignupIP:     {5, time.Hour},
		SignupDomain: {10, day},
		LoginIP:      {20, 15 * time.Minute},
		LoginAccount: {5, 15 * time.Minute},
		LoginDay:     {20, day},
		LoginRun:     {100, month},
		FactorDay:    {20, day},
		FactorRun:    {100, month},
		CodeRun:      {100, month},
		ForgotIP:     {60, time.Hour},
		ResetAccount: {5, time.Hour},
		ResetDay:     {10, day},
		InviteEmail:  {5, day},
		InviteMember: {200, time.Hour},
		InviteDay:    {500, day},
		Language:     {10, time.Hour},
		SecurityPack: {6, time.Hour},
		APIMember:    {600, time.Minute},
	}
}

// The bounds of a setting. A subject takes 8 bytes for each of its hits in the window.
const (
	mostMost     = 1_000_000
	shortestSpan = time.Second
	longestSpan  = 31 * 24 * time.Hour
)

// Parse returns the defaults, overridden by entries such as "login_ip=20/15m", or "login_ip=off" for no limit. An error names
// the entry.
func Parse(entries []string) (Rules, error) {
	rules := Defaults()
	seen := map[string]bool{}
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, text, _ := strings.Cut(entry, "=")
		if _, known := Defaults()[name]; !known {
			return nil, fmt.Errorf("%q: there is no limit %q: the limits are %s", entry, name, strings.Join(slices.Sorted(maps.Keys(Defaults())), ", "))
		}
		if seen[name] {
			return nil, fmt.Errorf("%q: %s is there twice", entry, name)
		}
		seen[name] = true
		if text == "off" {
			delete(rules, name)
			continue
		}
		rule, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		rules[name] = rule
	}
	return rules, nil
}

func parseRule(text string) (Rule, error) {
	count, span, found := strings.Cut(text, "/")
	if !found {
		return Rule{}, fmt.Errorf("expected name=count/duration, such as %s=20/15m, or %s=off", LoginIP, LoginIP)
	}
	most, err := strconv.Atoi(count)
	if err != nil || most < 1 || most > mostMost {
		return Rule{}, fmt.Errorf("the count must be 1 to %d, or the limit off", mostMost)
	}
	d, err := time.ParseDuration(span)
	if err != nil || d < shortestSpan || d > longestSpan {
		return Rule{}, fmt.Errorf("the duration must be %s to %s, such as 15m or 24h", shortestSpan, longestSpan)
	}
	return Rule{Most: most, Span: d}, nil
}
