package limit

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"192.0.2.1": {"192.0.2.0/24"}, "192.0.2.254": {"192.0.2.0/24"}, "192.0.3.1": {"192.0.3.0/24"}, "::ffff:192.0.2.1": {"192.0.2.0/24"},
		"2001:db8:1:2:3:4:5:6": {"2001:db8:1:2::/64", "2001:db8:1::/48"}, "2001:db8:1:3::1": {"2001:db8:1:3::/64", "2001:db8:1::/48"},
		"fe80::1%eth0": {"fe80::/64", "fe80::/48"}, "::1": {"::/64", "::/48"},
	} {
		if got := Networks(netip.MustParseAddr(text)); !slices.Equal(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := Networks(netip.Addr{}); len(got) != 1 || got[0] == "" {
		t.Errorf("no address is in no network: %q", got)
	}
}

// One network cannot hide behind the many /64 of its /48, which has room for three times as many.
func TestWideNetworks(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginIP: {4, time.Hour}})
	through := 0
	for i := range 30 {
		var a [16]byte
		a[0], a[7] = 0x20, byte(i)
		err := l.Take(t.Context(), Network(LoginIP, netip.AddrFrom16(a))...)
		if exceeded(t, err, LoginIP) < 0 {
			through++
		}
	}
	if through != 12 {
		t.Errorf("%d from one /48, want 12", through)
	}
	if err := l.Take(t.Context(), Network(LoginIP, netip.MustParseAddr("2000:0:1::1"))...); err != nil {
		t.Errorf("another /48: %v", err)
	}
}

func TestOrganisation(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]string{
		"ada@example.org": "example.org", "Ada+x@EXAMPLE.org": "example.org", "b@mail.eu.example.org": "example.org",
		"c@example.co.uk": "example.co.uk", "c@a.b.example.co.uk": "example.co.uk",
		"d@bücher.example": "xn--bcher-kva.example", "d@xn--bcher-kva.example": "xn--bcher-kva.example", "d@BÜCHER.example": "xn--bcher-kva.example",
		"d@bu\u0308cher.example": "xn--bcher-kva.example", "d@www.ｂücher.example": "xn--bcher-kva.example",
		"e@gmail.com": "e@gmail.com", "E+tag@GMail.com": "e@gmail.com", "f@skynet.be": "f@skynet.be", "g@x.hotmail.co.uk": "g@hotmail.co.uk",
		"h@localhost": "localhost", "i@example.org.": "example.org", "j@co.uk": "co.uk", "k@[192.0.2.1]": "[192.0.2.1]", "@": "",
		`"a@b"@example.org`: "example.org",
	} {
		if got := Organisation(email); got != want {
			t.Errorf("%s: %q, want %q", email, got, want)
		}
	}
}

// The list holds registered domains only: another form would never match.
func TestFreemail(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gmail.com", "outlook.com", "proton.me", "skynet.be", "telenet.be"} {
		if !freemail()[name] {
			t.Errorf("%s is missing", name)
		}
	}
	var lines []string
	for line := range strings.Lines(freemailText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	for domain := range freemail() {
		if got := Organisation("x@" + domain); got != "x@"+domain {
			t.Errorf("%s is %s", domain, got)
		}
	}
	slices.Sort(lines)
	if len(slices.Compact(lines)) != len(freemail()) {
		t.Error("a domain is there twice")
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	m := &members{rule: Rule{3, time.Minute}}
	a, b := uuid.New(), uuid.New()
	now := time.Now()
	for i, step := range []struct {
		id    uuid.UUID
		after time.Duration
		wait  time.Duration
	}{
		{a, 0, 0}, {a, 20 * time.Second, 0}, {a, 0, 0}, {a, 0, 40 * time.Second}, {b, 0, 0}, {a, 39 * time.Second, time.Second},
		{a, time.Second, 0}, {a, 0, 20 * time.Second}, {a, 20 * time.Second, 0}, {a, 0, 0}, {a, 0, 40 * time.Second},
	} {
		now = now.Add(step.after)
		room := m.reserve(step.id, now)
		if refused := room.Left < 0; refused != (step.wait > 0) || refused && room.Wait != step.wait {
			t.Errorf("step %d: %+v, want %s to wait", i, room, step.wait)
		}
	}
	if room := m.reserve(uuid.New(), now); room.Left != 2 || room.Wait != time.Minute || room.Most != 3 {
		t.Errorf("the first of three leaves %+v", room)
	}
	m.reserve(b, now.Add(time.Hour))
	if len(m.of) != 1 {
		t.Errorf("%d members are remembered", len(m.of))
	}
	if (*Limits)(nil).Member(a) != (Quota{}) || (&Limits{}).Member(a) != (Quota{}) {
		t.Error("no limit limits")
	}
}

func BenchmarkMember(b *testing.B) {
	m := &members{rule: Rule{600, time.Minute}}
	id := uuid.New()
	for b.Loop() {
		m.reserve(id, time.Now())
	}
}
