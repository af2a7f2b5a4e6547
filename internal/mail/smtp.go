package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
)

const (
	// stepTimeout limits connecting, with everything up to the log-in, and then sending the mail. It is this long because giving up on
	// a slow server that still works on the mail makes a second copy.
	stepTimeout = time.Minute
	// sendTimeout limits both together.
	sendTimeout = 2 * time.Minute
)

// A server is what an SMTP URL names.
type server struct {
	host           string
	port           int
	user, password string
	implicit       bool           // TLS from the first byte
	roots          *x509.CertPool // the authorities that may vouch for the server; nil: those of the system
	timeout        time.Duration  // of a step
}

// parseServer reads an SMTP URL: see [NewSender]. Its errors do not repeat the URL, because it may have a password.
func parseServer(raw string) (server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return server{}, errors.New("KLUIS_SMTP_URL: not a URL: expected smtp://[user:password@]host[:port], with special characters in a password as %XX")
	}
	s := server{host: u.Hostname(), implicit: u.Scheme == "smtps", timeout: stepTimeout}
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
	}
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return server{}, fmt.Errorf("KLUIS_SMTP_URL: scheme %q is not smtp or smtps", u.Scheme)
	case s.host == "":
		return server{}, errors.New("KLUIS_SMTP_URL: no host")
	case u.User != nil && (s.user == "" || s.password == ""):
		return server{}, errors.New("KLUIS_SMTP_URL: a user without a password, or the other way round")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return server{}, errors.New("KLUIS_SMTP_URL: nothing may follow the port")
	}
	s.port, err = port(u, s.user != "")
	return s, err
}

// port is the port of the URL, or the usual one: RFC 8314 and RFC 6409 for submission, RFC 5321 for a relay.
func port(u *url.URL, login bool) (int, error) {
	switch {
	case u.Port() != "":
		n, err := strconv.Atoi(u.Port())
		if err != nil || n < 1 || n > 65535 {
			return 0, errors.New("KLUIS_SMTP_URL: the port is not between 1 and 65535")
		}
		return n, nil
	case u.Scheme == "smtps":
		return 465, nil
	case login:
		return 587, nil
	}
	return 25, nil
}

// deliver hands one mail over, on a connection of its own. The error is a [*SendError].
func (s server) deliver(ctx context.Context, msg *gomail.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel() // closes the connection, which go-mail leaves open when the log-in fails
	client, err := s.client(ctx, msg)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // the server has taken the mail, even when QUIT failed
		return nil
	}
	return sendError(err)
}

// reach connects, logs in, and quits. The error is a [*SendError].
func (s server) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	client, err := s.client(ctx, gomail.NewMsg())
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return sendError(err)
	}
	_ = client.Close() // the login was accepted, even when QUIT failed
	return nil
}

// client makes a client whose connection is closed when ctx ends.
func (s server) client(ctx context.Context, msg *gomail.Msg) (*gomail.Client, error) {
	options := append(s.options(msg), gomail.WithDialContextFunc(func(dialing context.Context, _, _ string) (net.Conn, error) {
		return s.dial(dialing, ctx)
	}))
	client, err := gomail.NewClient(s.host, options...)
	if err != nil {
		return nil, &SendError{Step: "connect", Reason: "the settings are not usable"}
	}
	return client, nil
}

// dial connects within ctx. The connection is closed when lifetime ends.
func (s server) dial(ctx, lifetime context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(s.host, strconv.Itoa(s.port)))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(lifetime, func() { conn.Close() })
	if !s.implicit {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure, nil
}

func (s server) options(msg *gomail.Msg) []gomail.Option {
	options := []gomail.Option{
		gomail.WithPort(s.port),
		gomail.WithTimeout(s.timeout),
		gomail.WithTLSConfig(s.tls()),
		gomail.WithTLSPolicy(gomail.TLSOpportunistic),
		gomail.WithoutNoop(),
	}
	if s.implicit {
		options = append(options, gomail.WithSSL())
	}
	if s.user != "" {
		options = append(options,
			gomail.WithTLSPolicy(gomail.TLSMandatory),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin),
			gomail.WithUsername(s.user),
			gomail.WithPassword(s.password))
	}
	if to, _ := msg.GetRecipients(); isASCII(strings.Join(to, "")) {
		// With SMTPUTF8 (RFC 6531) a mail could not be delivered beyond a relay that does not know it.
		options = append(options, gomail.WithoutSMTPUTF8())
	}
	return options
}

// tls verifies the server's name, except for a server on this machine to which no password is sent: nobody can listen in between, and local mail
// servers come with certificates that they have signed themselves.
func (s server) tls() *tls.Config {
	ip := net.ParseIP(s.host)
	local := s.host == "localhost" || ip != nil && ip.IsLoopback()
	return &tls.Config{
		ServerName:         s.host,
		RootCAs:            s.roots,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: local && s.user == "" && s.roots == nil, //nolint:gosec // see above
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}
