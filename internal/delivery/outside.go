package delivery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Outside is the way out of the program. Addresses that are not of the public internet are refused, since the program stands where its
// operator's other machines are, and who may set a URL must not reach those through it. The operator can name networks that are allowed
// anyway; to those, and to no other, also goes what is not encrypted.
type Outside struct {
	networks []netip.Prefix
	patience time.Duration // for one attempt to send
	lookUp   func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewOutside makes the way out, with the networks that the operator allows besides the public internet.
func NewOutside(networks ...netip.Prefix) *Outside {
	return &Outside{networks: networks, patience: Patience, lookUp: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// LookingUp has names looked up by another function, for tests.
func (o *Outside) LookingUp(lookUp func(ctx context.Context, host string) ([]netip.Addr, error)) *Outside {
	o.lookUp = lookUp
	return o
}

// Within has attempts end after another time than Patience, for tests.
func (o *Outside) Within(patience time.Duration) *Outside {
	o.patience = patience
	return o
}

// special are the networks that are not of the public internet, or lead to others that are not (IANA's special-purpose address
// registries, RFC 6890). An IPv4 address inside an IPv6 one is seen by permitted itself.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", // of 2000::/3, outside of which nothing is public
)

var publicIPv6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func in(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// permitted tells whether an address may be reached.
func (o *Outside) permitted(addr netip.Addr, encrypted bool) bool {
	addr = addr.WithZone("").Unmap()
	switch {
	case in(o.networks, addr):
		return true
	case !encrypted:
		return false
	case addr.Is4():
		return !in(special, addr)
	}
	return publicIPv6.Contains(addr) && !in(special, addr)
}

// Plain tells whether there is any network to which anything goes unencrypted.
func (o *Outside) Plain() bool { return len(o.networks) > 0 }

// Literal refuses a host that is an address and may not be reached. A name is looked up when there is something to send.
func (o *Outside) Literal(host string, encrypted bool) error {
	if addr, err := netip.ParseAddr(host); err == nil && !o.permitted(addr, encrypted) {
		return errForbidden
	}
	return nil
}

// errForbidden says nothing of the address: who set the URL is not to learn how names resolve inside.
var errForbidden = errors.New("its address is none of the public internet, and the operator of Kluis has not allowed it")

// dialer opens connections; those for what is not encrypted go to the operator's networks alone.
type dialer struct {
	*Outside
	encrypted bool
}

// DialContext looks a name up once, and connects to one of the addresses that it has then. The connection is to the address that was
// judged: what the name is at the next look-up does not matter.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var tcp net.Dialer
	var first error
	for _, addr := range addrs {
		conn, err := tcp.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// maxAddresses of a name are tried.
const maxAddresses = 4

func (d dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = d.lookUp(ctx, host); err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(addr netip.Addr) bool { return !d.permitted(addr, d.encrypted) })
	if len(addrs) == 0 {
		return nil, errForbidden
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// Patience is how long one attempt to send takes at most: the look-up, the connection, and the answer.
const Patience = 15 * time.Second
