package limit

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// KnownFor is how long a device or a network counts as one from which an account was used.
const KnownFor = 30 * 24 * time.Hour

// known is the name of the counters that remember the networks of an account.
const known = "known"

// Remember notes the network from which somebody was let into an account, and returns a token by which the account knows the device
// again. Both last for KnownFor. The database does not say whose they are.
func (l *Limits) Remember(ctx context.Context, account string, from netip.Addr) (device string, err error) {
	if l == nil {
		return "", nil
	}
	c := l.network(account, from)
	var until time.Time
	err = l.db.Pool().QueryRow(ctx, `with noted as (insert into kluis.counter (name, subject, circle, keep_until) values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
			on conflict (name, subject, circle) do update set keep_until = excluded.keep_until
			where kluis.counter.keep_until < excluded.keep_until - interval '1 hour')
		select clock_timestamp() + make_interval(secs => $4)`, c.Name, l.subject(c), l.circle(c), KnownFor.Seconds()).Scan(&until)
	if err != nil {
		return "", fmt.Errorf("remember a network: %w", err)
	}
	return l.newDevice(account, until), nil
}

func (l *Limits) network(account string, from netip.Addr) Counter {
	return Counter{Name: known, Subject: account, Circle: Networks(from)[0]}
}

// Circles returns the circles in which a caller may try an account, the narrowest first: that of a device that the account knows, and
// that of a network from which it was used lately or, without one, that of strangers (""). The attempts of strangers fill no circle but
// theirs.
func (l *Limits) Circles(ctx context.Context, account string, from netip.Addr, device string) (circles []string, err error) {
	if l == nil {
		return []string{""}, nil
	}
	var there bool
	var now time.Time
	c := l.network(account, from)
	err = l.db.Pool().QueryRow(ctx, `select now, exists (select from kluis.counter where name = $1 and subject = $2 and circle = $3 and keep_until > now)
		from (select clock_timestamp() + make_interval(secs => $4) as now) as at`, c.Name, l.subject(c), l.circle(c), l.ahead.Seconds()).Scan(&now, &there)
	if err != nil {
		return nil, fmt.Errorf("look up a network: %w", err)
	}
	if id := l.openDevice(account, device, now); id != "" {
		circles = append(circles, "device "+id)
	}
	if there {
		return append(circles, "network "+c.Circle), nil
	}
	return append(circles, ""), nil
}

// IsDevice tells whether a circle is that of one device.
func IsDevice(circle string) bool { return len(circle) > 7 && circle[:7] == "device " }

// The parts of a device's token, in bytes: an id, the end in Unix seconds, and the HMAC of both for the account.
const (
	deviceID  = 16
	deviceEnd = 8
)

func (l *Limits) newDevice(account string, until time.Time) string {
	token := make([]byte, deviceID, deviceID+deviceEnd+32)
	rand.Read(token) // never fails, see crypto/rand
	token = binary.BigEndian.AppendUint64(token, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(token, l.deviceMAC(account, token)...))
}

// openDevice returns the id of a device that the account knows; "" for any other.
func (l *Limits) openDevice(account, device string, now time.Time) string {
	token, err := base64.RawURLEncoding.DecodeString(device)
	if err != nil || len(token) < deviceID+deviceEnd {
		return ""
	}
	stated, mac := token[:deviceID+deviceEnd], token[deviceID+deviceEnd:]
	end := binary.BigEndian.Uint64(stated[deviceID:])
	if subtle.ConstantTimeCompare(mac, l.deviceMAC(account, stated)) != 1 || end < uint64(now.Unix()) {
		return ""
	}
	return string(stated[:deviceID])
}

func (l *Limits) deviceMAC(account string, stated []byte) []byte {
	return l.key.MAC("kluis/limit/device/"+account, stated)
}
