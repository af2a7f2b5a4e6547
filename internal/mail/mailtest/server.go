package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// A Behaviour is what the server does with a mail.
type Behaviour int

const (
	Accept          Behaviour = iota
	FailTemporarily           // 451 4.3.0 for the recipient, whose address is repeated in the answer
	FailPermanently           // 550 5.1.1 for the recipient, whose address is repeated in the answer
	RefuseContent             // 554 5.7.1 for the mail, parts of which are repeated in the answer
	DropAfterData             // takes and keeps the mail, but closes the connection instead of answering
	DropAfterAnswer           // takes the mail and says so, then closes the connection
	Hang                      // takes the mail's data and never answers
)

// Server is an SMTP server that keeps what it gets. It ends with its test, and is safe for concurrent use.
type Server struct {
	smtp     *smtp.Server
	url      string
	roots    *x509.CertPool
	user     string
	password string
	ended    chan struct{}

	mu        sync.Mutex
	messages  []Message
	handed    []bool // which of them WaitFor has given out
	behaviour Behaviour
	times     int // how many more mails behave so; -1 = all
}

// New starts a server without encryption and without log-in.
func New(t testing.TB) *Server {
	t.Helper()
	return start(t, &Server{}, nil, false)
}

// NewTLS starts a server with STARTTLS and a certificate that it signed itself for 127.0.0.1. When user is not empty, mails are
// taken after a log-in only.
func NewTLS(t testing.TB, user, password string) *Server {
	t.Helper()
	return start(t, &Server{user: user, password: password}, certificate(t), false)
}

// NewImplicitTLS is NewTLS, but encrypted from the first byte: its URL begins with smtps.
func NewImplicitTLS(t testing.TB, user, password string) *Server {
	t.Helper()
	return start(t, &Server{user: user, password: password}, certificate(t), true)
}

func start(t testing.TB, s *Server, cert *tls.Certificate, implicit bool) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("mailtest: %v", err)
	}
	address := url.URL{Scheme: "smtp", Host: listener.Addr().String()}
	if s.user != "" {
		address.User = url.UserPassword(s.user, s.password)
	}
	s.ended = make(chan struct{})
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.session))
	s.smtp.Domain = "mailtest.invalid"
	s.smtp.ErrorLog = log.New(io.Discard, "", 0)
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = 30*time.Second, 30*time.Second
	s.smtp.EnableSMTPUTF8 = true
	if cert != nil {
		s.smtp.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		s.roots = x509.NewCertPool()
		s.roots.AddCert(cert.Leaf)
	}
	if implicit {
		address.Scheme = "smtps"
		listener = tls.NewListener(listener, s.smtp.TLSConfig)
	}
	s.url = address.String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.smtp.Serve(listener)
	}()
	t.Cleanup(func() {
		close(s.ended)
		_ = s.smtp.Close()
		_ = listener.Close() // Close knows only a listener that is already served
		<-served
	})
	return s
}

// URL is where the server is, as a setting wants it: "smtp://127.0.0.1:43210", with the log-in if there is one.
func (s *Server) URL() string { return s.url }

// Roots vouch for the server's certificate; nil when it has none.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Behave sets what happens to the next mails: so many times (-1: until told otherwise), then they are accepted again.
func (s *Server) Behave(b Behaviour, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour, s.times = b, times
}

// Messages are all mails that were taken, in the order of arrival.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// patience is how long WaitFor waits.
const patience = 15 * time.Second

// WaitFor gives the oldest mail to the address (in any case) that it has not given out before, and waits for it at most 15 s.
func (s *Server) WaitFor(t testing.TB, to string) Message {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		if m, ok := s.take(to); ok {
			return m
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("mailtest: no mail to %s within %s, %d to others or given out before", to, patience, len(s.Messages()))
		}
	}
}

func (s *Server) take(to string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.messages {
		for _, recipient := range m.To {
			if !s.handed[i] && strings.EqualFold(recipient, to) {
				s.handed[i] = true
				return m, true
			}
		}
	}
	return Message{}, false
}

func (s *Server) keep(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.handed = append(s.messages, m), append(s.handed, false)
}

// next says what to do with the mail that comes now.
func (s *Server) next() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == 0 {
		return Accept
	}
	if s.times > 0 {
		s.times--
	}
	return s.behaviour
}
