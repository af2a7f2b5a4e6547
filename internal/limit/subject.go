package limit

import (
	_ "embed" // the list of free-mail domains
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Address is the subject of a client's address: itself, or its /64 for IPv6, which one household has whole. Clients
// without one, of which there should be none, are one subject together.
func Address(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a.String()
	}
	prefix, err := a.Prefix(64)
	if err != nil { // only for more bits than there are
		return a.String()
	}
	return prefix.String()
}

//go:embed freemail.txt
var freemailText string

var freemail = sync.OnceValue(func() map[string]bool {
	domains := map[string]bool{}
	for line := range strings.Lines(freemailText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			domains[line] = true
		}
	}
	return domains
})

// Organisation is the subject of an e-mail address: the domain that somebody registered (case, international spelling
// and subdomains make no difference), so that all of a company's addresses are one. Where everybody may have an
// address, it is the mailbox (tags behind a plus make no difference).
func Organisation(email string) string {
	at := strings.LastIndexByte(email, '@')
	local, domain := email[:max(at, 0)], strings.ToLower(strings.TrimSuffix(email[at+1:], "."))
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		domain = ascii
	}
	if registered, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil && !strings.HasPrefix(domain, "[") { // an address literal has no parts
		domain = registered
	}
	if !freemail()[domain] {
		return domain
	}
	local, _, _ = strings.Cut(strings.ToLower(local), "+")
	return local + "@" + domain
}
