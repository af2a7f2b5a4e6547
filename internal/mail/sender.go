package mail

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"
)

// Sender sends mails to one SMTP server, or writes them into one folder. It is safe for concurrent use.
type Sender struct {
	from    *mail.Address
	log     *slog.Logger
	deliver func(ctx context.Context, msg *gomail.Msg) error
}

// NewSender makes a sender.
//
// smtpURL is smtp://[user:password@]host[:port] or smtps://... (TLS from the first byte; RFC 8314). With smtp the connection is encrypted when the
// server offers STARTTLS (RFC 3207); a password is sent over an encrypted connection only. The port is 587 with a password and 25
// without, 465 for smtps.
//
// When smtpURL is empty, each mail is written as a file into the folder dir, and its path is logged. The folder is made with mode 0700 when
// it is missing.
//
// from is the sender, "kluis@example.org" or "Kluis <kluis@example.org>".
//
// NewSender connects to nothing. Its errors never contain the password.
func NewSender(smtpURL, dir, from string, log *slog.Logger) (*Sender, error) {
	sender, err := parseSender(from)
	if err != nil {
		return nil, err
	}
	s := &Sender{from: sender, log: log}
	if smtpURL == "" {
		f, err := newFolder(dir, log)
		if err != nil {
			return nil, err
		}
		s.deliver = f.deliver
		return s, nil
	}
	srv, err := parseServer(smtpURL)
	if err != nil {
		return nil, err
	}
	s.deliver = srv.deliver
	return s, nil
}

// Check tells what is wrong with the settings of a sender, without making anything.
func Check(smtpURL, from string) error {
	_, err := parseSender(from)
	if err == nil && smtpURL != "" {
		_, err = parseServer(smtpURL)
	}
	return err
}

// Ping tells whether an SMTP server accepts the login of its URL, without sending anything. With an empty URL, mails go into a folder, and Ping
// returns nil.
func Ping(ctx context.Context, smtpURL string) error {
	if smtpURL == "" {
		return nil
	}
	srv, err := parseServer(smtpURL)
	if err != nil {
		return err
	}
	return srv.reach(ctx)
}

func parseSender(from string) (*mail.Address, error) {
	sender, err := mail.ParseAddress(from)
	if err == nil {
		sender.Address, err = address(sender.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("KLUIS_MAIL_FROM: %q is no sender of mails: %w", from, err)
	}
	return sender, nil
}

// Send renders the message and delivers it. nil means that the server has taken it, or that the file is there.
//
// The error is [ErrRefused] when the message cannot be sent as it is, a [*SendError] from a server, and the context's error when that ended first. No
// error contains an address, a name or a code.
func (s *Sender) Send(ctx context.Context, m Message) error {
	msg, err := s.compose(m)
	if err != nil {
		return err
	}
	err = s.deliver(ctx, msg)
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("send mail: %w", ctx.Err())
	}
	return err
}

// compose writes the mail in the format of RFC 5322. Every header is a constant or made by Render, which leaves no line break in it.
func (s *Sender) compose(m Message) (*gomail.Msg, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	to, err := address(m.To)
	if err != nil {
		return nil, err
	}
	words, err := Render(m)
	if err != nil {
		return nil, err
	}
	if m.ID == "" {
		m.ID = uuid.NewString()
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(&mail.Address{Address: to})
	msg.Subject(words.Subject)
	msg.SetDateWithValue(m.At.UTC())
	msg.SetMessageIDWithValue(m.ID + s.from.Address[strings.LastIndexByte(s.from.Address, '@'):])
	msg.SetGenHeader(gomail.HeaderContentLang, words.Language)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // so that no auto-responder answers (RFC 3834)
	msg.SetBodyString(gomail.TypeTextPlain, words.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, words.HTML)
	for _, f := range m.Files {
		if err := msg.AttachReader(f.Name, bytes.NewReader(f.Content), gomail.WithFileContentType(gomail.ContentType(f.Media))); err != nil {
			return nil, fmt.Errorf("%w: attach %s: %w", ErrRefused, f.Name, err)
		}
	}
	return msg, nil
}
