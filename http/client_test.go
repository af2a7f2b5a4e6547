package http

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for name, test := range map[string]struct {
		peer      string
		forwarded []string // one for each header line
		want      string
	}{
		"nobody's header":             {"192.0.2.1:999", []string{"203.0.113.7"}, "192.0.2.1"},
		"no header":                   {"10.0.0.1:999", nil, "10.0.0.1"},
		"a trusted proxy's":           {"10.0.0.1:999", []string{"203.0.113.7"}, "203.0.113.7"},
		"the right-most":              {"10.0.0.1:999", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"behind two proxies":          {"10.0.0.1:999", []string{"198.51.100.1, 203.0.113.7 , 10.0.0.2"}, "203.0.113.7"},
		"over two lines":              {"10.0.0.1:999", []string{"198.51.100.1", "203.0.113.7,10.0.0.2"}, "203.0.113.7"},
		"the first line's last":       {"10.0.0.1:999", []string{"198.51.100.1, 203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		"proxies all the way":         {"10.0.0.1:999", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"rubbish from the caller":     {"10.0.0.1:999", []string{"<script>, 203.0.113.7"}, "203.0.113.7"},
		"rubbish from a proxy":        {"10.0.0.1:999", []string{"203.0.113.7, unknown"}, "10.0.0.1"},
		"an empty hop":                {"10.0.0.1:999", []string{"203.0.113.7, , 10.0.0.2"}, "10.0.0.2"},
		"an empty header":             {"10.0.0.1:999", []string{""}, "10.0.0.1"},
		"only commas":                 {"10.0.0.1:999", []string{",,,"}, "10.0.0.1"},
		"with a port":                 {"10.0.0.1:999", []string{"203.0.113.7:8080"}, "203.0.113.7"},
		"IPv6":                        {"[2001:db8:1::1]:999", []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		"IPv6 in brackets":            {"[2001:db8:1::1]:999", []string{"[2001:db8:2::7]"}, "2001:db8:2::7"},
		"IPv6 with a port":            {"[2001:db8:1::1]:999", []string{"[2001:db8:2::7]:8080"}, "2001:db8:2::7"},
		"IPv6 with a zone":            {"10.0.0.1:999", []string{"fe80::1%eth0"}, "fe80::1"},
		"IPv4 in IPv6":                {"[::ffff:10.0.0.1]:999", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"a list without an end":       {"10.0.0.1:999", []string{"203.0.113.7" + strings.Repeat(", 10.0.0.2", 5000)}, "10.0.0.2"},
		"a peer that is no address":   {"@", []string{"203.0.113.7"}, "invalid IP"},
		"octal, which is not decimal": {"10.0.0.1:999", []string{"0203.0.113.7"}, "10.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		for _, other := range []string{"Forwarded", "X-Real-Ip", "X-Client-Ip", "Cf-Connecting-Ip", "True-Client-Ip", "X-Forwarded-Host"} {
			r.Header.Set(other, "for=198.51.100.99, 198.51.100.99")
		}
		if got := clientAddress(r, trusted).String(); got != test.want {
			t.Errorf("%s: %s, not %s", name, got, test.want)
		}
		if got := clientAddress(r, nil); got != parseHop(test.peer) {
			t.Errorf("%s, without trusted proxies: %s", name, got)
		}
	}
}

func TestHandlersLearnTheClient(t *testing.T) {
	s := newSite(t)
	a := s.ask("GET", "/api/fail/not", "", "User-Agent: curl/8\x80\t"+strings.Repeat("é", 300), "X-Forwarded-For: 203.0.113.7")
	if !strings.Contains(a.body, "client 127.0.0.1 agent curl/8?éé") || len(a.body) > 400 {
		t.Error(a.body)
	}
}
