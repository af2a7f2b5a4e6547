package mailtest

import (
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A session is one connection.
type session struct {
	server   *Server
	conn     *smtp.Conn
	loggedIn bool
	from     string
	to       []string
	does     Behaviour
	drop     bool // at the next RSET, which the server does itself after each mail
}

func (s *Server) session(conn *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: conn}, nil
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.server.user == "" || user != s.server.user || password != s.server.password {
			return &smtp.SMTPError{
				Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8},
				Message: fmt.Sprintf("%s may not log in", user),
			}
		}
		s.loggedIn = true
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.user != "" && !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	s.from, s.to = from, nil
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.does = s.server.next()
	switch s.does {
	case FailTemporarily:
		return &smtp.SMTPError{
			Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0},
			Message: fmt.Sprintf("<%s>: try again later", to),
		}
	case FailPermanently:
		return &smtp.SMTPError{
			Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1},
			Message: fmt.Sprintf("<%s>: no such mailbox", to),
		}
	}
	s.to = append(s.to, to)
	return nil
}

var errDropped = errors.New("mailtest: connection dropped")

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := Parse(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	switch s.does {
	case RefuseContent:
		return &smtp.SMTPError{
			Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1},
			Message: fmt.Sprintf("mail to <%s> with %s %q looks like spam", s.to, m.Code(), m.Subject),
		}
	case Hang:
		<-s.server.ended
		return errDropped
	}
	m.From, m.To = s.from, s.to
	s.server.keep(m)
	s.drop = s.does == DropAfterAnswer
	if s.does == DropAfterData {
		s.conn.Conn().Close()
		return errDropped
	}
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	if s.drop {
		s.conn.Conn().Close()
	}
}

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }
