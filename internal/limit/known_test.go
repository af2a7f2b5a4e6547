package limit

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The account knows a device and a network again for a month, and takes neither for another account's.
func TestKnown(t *testing.T) {
	t.Parallel()
	url, ring := newDatabase(t), newRing(t)
	l := open(t, url, ring, Defaults())
	home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	circles := func(account string, from netip.Addr, device string) []string {
		t.Helper()
		circles, err := l.Circles(t.Context(), account, from, device)
		if err != nil {
			t.Fatal(err)
		}
		return circles
	}
	if got := circles("ada", home, ""); !slices.Equal(got, []string{""}) {
		t.Errorf("before: %q", got)
	}
	device, err := l.Remember(t.Context(), "ada", home)
	if err != nil {
		t.Fatal(err)
	}
	if got := circles("ada", netip.MustParseAddr("192.0.2.99"), ""); !slices.Equal(got, []string{"network 192.0.2.0/24"}) {
		t.Errorf("the network: %q", got)
	}
	mine := circles("ada", away, device)
	if len(mine) != 2 || !IsDevice(mine[0]) || mine[1] != "" {
		t.Errorf("the device: %q", mine)
	}
	other := "A"
	if device[0] == 'A' {
		other = "B"
	}
	for what, got := range map[string][]string{
		"another account": circles("bob", home, device), "no token": circles("ada", away, "x"), "cut": circles("ada", away, device[:40]),
		"changed": circles("ada", away, other+device[1:]), "short": circles("ada", away, device[:4]),
	} {
		if !slices.Equal(got, []string{""}) {
			t.Errorf("%s: %q", what, got)
		}
	}
	l.ahead = KnownFor + time.Hour
	if got := circles("ada", home, device); !slices.Equal(got, []string{""}) {
		t.Errorf("a month later: %q", got)
	}
	if got, err := (*Limits)(nil).Circles(t.Context(), "ada", home, device); err != nil || !slices.Equal(got, []string{""}) {
		t.Errorf("without limits: %q, %v", got, err)
	}
}
