package http

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxHops  = 32  // of X-Forwarded-For that are looked at
	maxAgent = 256 // bytes of User-Agent that are kept
)

// clientOf is the address that the request of ctx came from: what rate limits count by. It is personal data.
// It is not valid when the peer has no IP address (a Unix socket).
func clientOf(ctx context.Context) netip.Addr { return exchangeOf(ctx).client }

// agentOf is the User-Agent of the request of ctx, cut and safe to store. It is personal data.
func agentOf(ctx context.Context) string { return exchangeOf(ctx).agent }

// clientAddress is the peer's, unless the peer is a proxy that we trust: then it is the right-most address
// of X-Forwarded-For that is not a trusted proxy's. The entries to its left were written by the caller.
// Where the list cannot be read, the proxy that passed it on is the client. Forwarded and X-Real-IP never count.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := parseHop(r.RemoteAddr)
	if !trusts(trusted, client) {
		return client
	}
	lines := r.Header.Values("X-Forwarded-For")
	seen := 0
	for _, line := range slices.Backward(lines) {
		for line != "" {
			var hop string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, hop = line[:i], line[i+1:]
			} else {
				line, hop = "", line
			}
			addr := parseHop(strings.TrimSpace(hop))
			if seen++; !addr.IsValid() || seen > maxHops {
				return client
			}
			client = addr
			if !trusts(trusted, client) {
				return client
			}
		}
	}
	return client
}

func trusts(trusted []netip.Prefix, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseHop reads an address with or without a port, in the one form that prefixes and limits compare:
// without a zone, and IPv4 as IPv4.
func parseHop(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.WithZone("").Unmap()
}

func userAgent(r *http.Request) string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(r.UserAgent(), "?"))
	return cutText(text, maxAgent)
}
