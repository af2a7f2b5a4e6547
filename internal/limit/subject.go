package limit

import (
	_ "embed" // the list of free-mail domains
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Networks are the networks of a client's address, the narrow one first: its /24, or for IPv6 the /64 that one household has
// whole and the /48 that anybody may rent. Clients without an address, of which there should be none, are one network
// together.
func Networks(a netip.Addr) (networks []string) {
	a = a.Unmap().WithZone("")
	sizes := []int{24}
	if a.Is6() {
		sizes = []int{64, 48}
	}
	for _, bits := range sizes {
		prefix, _ := a.Prefix(bits) // fails only for more bits than there are
		networks = append(networks, prefix.String())
	}
	return networks
}

// wide is how many times as much room a /48 has as a /64: it may be many customers' of one provider.
const wide = 3

// Network is a limit for the networks of an address.
func Network(name string, a netip.Addr) (counters []Counter) {
	for i, network := range Networks(a) {
		counters = append(counters, Counter{Name: name, Subject: network, Times: 1 + i*(wide-1)})
	}
	return counters
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
