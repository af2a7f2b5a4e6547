package limit

import (
	_ "embed" // the list of free-mail domains
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Networks returns the networks of a client's address in CIDR notation, the narrow one first. For IPv4 it is the /24. For IPv6 it is the
// /64, which one household has as a whole, and the /48, which anybody may rent. Clients without an address, of which there should be
// none, share one network.
func Networks(a netip.Addr) (networks []string) {
	a = a.Unmap().WithZone("")
	sizes := []int{24}
	if a.Is6() {
		sizes = []int{64, 48}
	}
	for _, bits := range sizes {
		prefix, _ := a.Prefix(bits) // fails only for more bits than an address has
		networks = append(networks, prefix.String())
	}
	return networks
}

// wide is how many times the room of a /64 a /48 has, because it may be many customers of one provider.
const wide = 3

// Network returns the counters of a limit for the networks of an address.
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

// Organisation returns the subject of an e-mail address. It is the registered domain, so that all addresses of a company are one subject:
// case, the spelling of international names and subdomains make no difference. On a domain where everybody may have an address, it is the
// mailbox, without a tag behind a plus.
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
