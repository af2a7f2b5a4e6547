package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
)

// checked has the parsed settings of serve. They are parsed before anything is opened, and an invalid one is a wrong use.
type checked struct {
	trusted   []netip.Prefix
	receivers []netip.Prefix
	witnesses []*checkpoint.Witness
	rules     limit.Rules
	hasher    *password.Hasher
	publicURL string
	cells     []cell
}

func (s serve) check() (c checked, err error) {
	if c.trusted, err = s.TrustedProxies.prefixes("KLUIS_TRUSTED_PROXIES"); err != nil {
		return c, err
	}
	if c.receivers, err = s.ReceiverNetworks.prefixes("KLUIS_RECEIVER_NETWORKS"); err != nil {
		return c, err
	}
	if c.rules, err = s.rules(); err != nil {
		return c, err
	}
	if c.publicURL, err = s.publicURL(); err != nil {
		return c, err
	}
	if c.witnesses, err = s.witnessed.check(); err != nil {
		return c, err
	}
	if err := s.erasureGrace.check(); err != nil {
		return c, err
	}
	if err := s.checkReach(); err != nil {
		return c, err
	}
	if c.cells, err = s.cells(s.outside); err != nil {
		return c, err
	}
	for _, in := range c.cells {
		if _, err := in.blobURL(in.Data); err != nil {
			return c, err
		}
	}
	c.hasher, err = s.hasher()
	return c, err
}

// regions gives the regions, for the records that the law requires.
func (c checked) regions() (all []commands.Region) {
	for _, in := range c.cells {
		all = append(all, commands.Region{Name: in.name, Country: in.country})
	}
	return all
}

// checkReach checks the address to listen on, and the settings for mails.
func (s serve) checkReach() error {
	_, port, err := net.SplitHostPort(s.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return usageError{fmt.Errorf("KLUIS_LISTEN: %q is not a host:port such as 127.0.0.1:8080", s.Listen)}
	}
	if err := mail.Check(s.SMTPURL, s.MailFrom); err != nil {
		return usageError{err}
	}
	return nil
}

// rules parses the settings of limits.
func (s serve) rules() (limit.Rules, error) {
	if s.ResetCodeLife < time.Minute || s.ResetCodeLife > 15*time.Minute {
		return nil, usageError{fmt.Errorf("KLUIS_RESET_CODE_LIFE: %s is not 1m to 15m", s.ResetCodeLife)}
	}
	rules, err := limit.Parse(s.Limits)
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_LIMITS: %w", err)}
	}
	return rules, nil
}

// hasher makes the hasher of passwords, which runs one hash on each core at once.
func (s serve) hasher() (*password.Hasher, error) {
	params, err := password.ParseParams(s.Argon2)
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_ARGON2: %w", err)}
	}
	return password.NewHasher(params, runtime.GOMAXPROCS(0), 64)
}

// publicURL checks the URL where people reach Kluis, and gives it without a slash at its end; empty when no setting tells it. The error does not show the URL,
// because it may have a password.
func (s serve) publicURL() (string, error) {
	if s.PublicURL == "" {
		return s.listenURL(), nil
	}
	u, err := url.Parse(s.PublicURL)
	wrong := err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(s.PublicURL, "?#") || strings.ContainsFunc(s.PublicURL, unicode.IsSpace) || len(s.PublicURL) > 200
	if !wrong && u.Port() != "" {
		_, err := strconv.ParseUint(u.Port(), 10, 16)
		wrong = err != nil
	}
	if wrong {
		return "", usageError{errors.New("KLUIS_PUBLIC_URL: expected an absolute http or https URL of at most 200 characters, " +
			"without user, query or fragment, such as https://kluis.example.org")}
	}
	return strings.TrimRight(s.PublicURL, "/"), nil
}

// listenURL is the URL where Kluis listens; empty when a link cannot have it: for any address, any port, or the name of a port.
func (s serve) listenURL() string {
	host, port, _ := net.SplitHostPort(s.Listen)
	number, _ := strconv.ParseUint(port, 10, 16)
	address, _ := netip.ParseAddr(host) // the zero address for a name
	if host == "" || number == 0 || address.Unmap().IsUnspecified() || address.Zone() != "" {
		return ""
	}
	return "http://" + s.Listen
}
