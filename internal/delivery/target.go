package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Event is what goes out: the line of a record.
type Event struct {
	ID   string // the same at each attempt, and of no other event
	Type string
	At   time.Time
	Line []byte // without a line break
}

// Target is a receiver with what it is shown.
type Target struct {
	Kind        string // webhook, siem_https, siem_syslog or nats
	URL         string
	CA          string // PEM of the authorities that it is trusted by, instead of the system's; empty for those
	Subject     string // of NATS
	Secrets     [][]byte
	Credentials string
	Workspace   string    // whose events they are
	Now         time.Time // when it is opened, by the database's clock, by which messages are dated
}

// Sender sends events to one target, one batch after the other. It is used by one goroutine.
type Sender interface {
	// Send sends some of the events, the first of them first, and says how many were taken: at least one, or there is an error. An
	// error after some is about the next one. It takes no longer than Patience.
	Send(ctx context.Context, events []Event) (taken int, err error)
	Close()
}

// Open makes the sender of a target. It connects to nothing yet.
func (o *Outside) Open(t Target) (Sender, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, errors.New("the URL cannot be read")
	}
	encrypted := u.Scheme == "https" || u.Scheme == "tls"
	d := dialer{o, encrypted}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if t.CA != "" {
		if config.RootCAs, err = Authorities(t.CA); err != nil {
			return nil, err
		}
	}
	switch t.Kind {
	case "webhook":
		return &webhook{target: t, opened: time.Now(), patience: o.patience, client: newClient(d, config)}, nil
	case "siem_https":
		return &ndjson{target: t, patience: o.patience, client: newClient(d, config)}, nil
	case "siem_syslog":
		return &syslog{target: t, address: address(u, "6514"), dialer: d, config: config}, nil
	case "nats":
		return &jetStream{target: t, address: address(u, "4222"), dialer: d, config: config}, nil
	}
	return nil, fmt.Errorf("there is no kind of receiver %q", t.Kind)
}

// Authorities reads certificates in PEM, one at least.
func Authorities(pem string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("there is no certificate in PEM")
	}
	return pool, nil
}

func address(u *url.URL, port string) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + ":" + port
}

// turn is after how long a sender of single events says how far it is.
const turn = time.Second

// each sends events one by one, until the turn is over.
func each(ctx context.Context, patience time.Duration, events []Event, send func(context.Context, Event) error) (taken int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for begun := time.Now(); taken < len(events) && (taken == 0 || time.Since(begun) < turn); taken++ {
		if err := send(ctx, events[taken]); err != nil {
			return taken, err
		}
	}
	return taken, nil
}
