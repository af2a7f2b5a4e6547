package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
)

const from = "Kluis <kluis@bücher.example>"

func newTestSender(t *testing.T, smtpURL string) *Sender {
	t.Helper()
	s, err := NewSender(smtpURL, "", from, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sendTo makes a sender whose server is changed first: other timeouts, other roots.
func sendTo(t *testing.T, smtpURL string, change func(*server), m Message) error {
	t.Helper()
	s := newTestSender(t, smtpURL)
	srv, err := parseServer(smtpURL)
	if err != nil {
		t.Fatal(err)
	}
	change(&srv)
	s.deliver = srv.deliver
	return s.Send(t.Context(), m)
}

// Files go with a mail as they are; a name that is none is refused.
func TestFiles(t *testing.T) {
	t.Parallel()
	srv := mailtest.New(t)
	m := whole("security_pack")
	content := bytes.Repeat([]byte("%PDF-\x00\xff\r\n.\r\n"), 5000)
	m.Files = []File{{Name: "dpa.pdf", Media: "application/pdf", Content: content}, {Name: "b.pdf", Media: "application/pdf", Content: []byte("b")}}
	if err := newTestSender(t, srv.URL()).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := srv.WaitFor(t, "zoe@example.org")
	if len(got.Files) != 2 || !bytes.Equal(got.Files["dpa.pdf"], content) || string(got.Files["b.pdf"]) != "b" || got.Text == "" || got.HTML == "" {
		t.Errorf("%d files, %d bytes: %s", len(got.Files), len(got.Files["dpa.pdf"]), got.Text)
	}
	for _, name := range []string{"", "a\r\nb.pdf", "../x", "a b", `a"b.pdf`} {
		m.Files[0].Name = name
		if err := newTestSender(t, srv.URL()).Send(t.Context(), m); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSend(t *testing.T) {
	srv := mailtest.New(t)
	m := whole("signup_code")
	m.ID, m.Language = "0b5e-7", "fr"
	if err := newTestSender(t, srv.URL()).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := srv.WaitFor(t, "Zoe@example.org")
	want, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != want.Text || got.HTML != want.HTML || got.Subject != want.Subject || got.Code() != "048213" {
		t.Errorf("got %q\n%s\n%s", got.Subject, got.Text, got.HTML)
	}
	if got.From != "kluis@xn--bcher-kva.example" || len(got.To) != 1 || got.To[0] != m.To {
		t.Errorf("envelope from %q to %q", got.From, got.To)
	}
	for header, want := range map[string]string{
		"From": `"Kluis" <kluis@xn--bcher-kva.example>`, "To": "<zoe@example.org>", "Message-Id": "<0b5e-7@xn--bcher-kva.example>",
		"Content-Language": "fr", "Auto-Submitted": "auto-generated", "Mime-Version": "1.0",
	} {
		if got := got.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if date, err := got.Header.Date(); err != nil || !date.Equal(m.At) {
		t.Errorf("date %v, %v, want %v: it is the database's", date, err, m.At)
	}
	if len(got.Header) != 9 { // and Subject, Date, Content-Type
		t.Errorf("headers %v", got.Header)
	}
	for line := range bytes.SplitSeq(got.Raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") || bytes.ContainsFunc(line, func(r rune) bool { return r > 127 }) {
			t.Errorf("line %q", line)
		}
	}
}

// Line breaks in every place where a caller can put them: either refused, or one harmless line.
func TestHeaderInjection(t *testing.T) {
	srv := mailtest.New(t)
	s := newTestSender(t, srv.URL())
	attacks := []string{
		"\r\nBcc: eve@example.org", "\nBcc: eve@example.org", "\rBcc: eve@example.org", "\r\n\r\nhello",
		"\r\n.\r\nMAIL FROM:<eve@example.org>\r\n", "\x00", "\u0085Bcc: eve@example.org", "\u2028Bcc: eve@example.org",
		"=?utf-8?q?=0D=0ABcc:_eve@example.org?=", "\v\f\x1b[2J",
	}
	for _, attack := range attacks {
		m := whole("invitation_code")
		for name := range m.Values {
			m.Values[name] += attack + " x"
		}
		m.Values["Code"] = "048213"
		m.Language = "nl" + attack
		if err := s.Send(t.Context(), m); err != nil {
			t.Errorf("%q in values: %v", attack, err)
			continue
		}
		got := srv.WaitFor(t, m.To)
		if len(got.To) != 1 || len(got.Header) != 9 || got.Header.Get("Bcc") != "" || got.Code() != "048213" {
			t.Errorf("%q in values: to %q, headers %v", attack, got.To, got.Header)
		}
		if strings.ContainsAny(got.Subject, "\r\n\u2028") {
			t.Errorf("%q in values: subject %q", attack, got.Subject)
		}
		for where, spoil := range map[string]func(*Message){
			"To, behind":  func(m *Message) { m.To += attack },
			"To, before":  func(m *Message) { m.To = attack + m.To },
			"To, between": func(m *Message) { m.To = "zoe@example" + attack + ".org" },
			"ID":          func(m *Message) { m.ID = "1" + attack },
			"Template":    func(m *Message) { m.Template += attack },
		} {
			m := whole("invitation_code")
			spoil(&m)
			if err := s.Send(t.Context(), m); !errors.Is(err, ErrRefused) {
				t.Errorf("%q in %s: %v", attack, where, err)
			}
		}
	}
	if n := len(srv.Messages()); n != len(attacks) {
		t.Errorf("%d mails, want %d", n, len(attacks))
	}
}

func TestInternationalLocalPart(t *testing.T) {
	srv := mailtest.New(t)
	m := whole("locked")
	m.To = "zoë@bücher.example"
	if err := newTestSender(t, srv.URL()).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	srv.WaitFor(t, "zoë@xn--bcher-kva.example")
}

// Whatever a server says, only its numbers come out.
func TestRefusals(t *testing.T) {
	for behaviour, want := range map[mailtest.Behaviour]SendError{
		mailtest.FailTemporarily: {Step: "recipient", Code: 451, Enhanced: "4.3.0"},
		mailtest.FailPermanently: {Step: "recipient", Code: 550, Enhanced: "5.1.1"},
		mailtest.RefuseContent:   {Step: "content", Code: 554, Enhanced: "5.7.1"},
		mailtest.DropAfterData:   {Step: "content"},
	} {
		srv := mailtest.New(t)
		srv.Behave(behaviour, 1)
		m := whole("reset_code")
		s := newTestSender(t, srv.URL())
		err := s.Send(t.Context(), m)
		var got *SendError
		if !errors.As(err, &got) || got.Step != want.Step || got.Code != want.Code || got.Enhanced != want.Enhanced {
			t.Errorf("behaviour %d: %v", behaviour, err)
			continue
		}
		if got.Permanent() != (want.Code >= 500) {
			t.Errorf("behaviour %d: permanent %v", behaviour, got.Permanent())
		}
		saysNothing(t, m, fmt.Sprintf("%v %+v %#v", err, err, err))
		if err := s.Send(t.Context(), m); err != nil {
			t.Errorf("behaviour %d, again: %v", behaviour, err)
		}
	}
}

// saysNothing looks for what may not be in logs, errors and tables.
func saysNothing(t *testing.T, m Message, text string) {
	t.Helper()
	local, _, _ := strings.Cut(m.To, "@")
	for _, secret := range []string{m.To, local + "@", m.Values["Code"], m.Values["Name"], m.Values["Workspace"]} {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}

// The server took the mail and said so: a bad goodbye is no reason to send it again.
func TestTakenIsTaken(t *testing.T) {
	srv := mailtest.New(t)
	srv.Behave(mailtest.DropAfterAnswer, -1)
	if err := newTestSender(t, srv.URL()).Send(t.Context(), whole("locked")); err != nil {
		t.Error(err)
	}
}

// The server took the mail, but its answer was lost: the second copy has the same Message-ID.
func TestLostAnswer(t *testing.T) {
	srv := mailtest.New(t)
	srv.Behave(mailtest.DropAfterData, 1)
	s, m := newTestSender(t, srv.URL()), whole("locked")
	m.ID = "one-and-the-same"
	if err := s.Send(t.Context(), m); err == nil {
		t.Error("no error")
	}
	if err := s.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	all := srv.Messages()
	if len(all) != 2 || all[0].ID != all[1].ID || !strings.HasPrefix(all[0].ID, "<one-and-the-same@") {
		t.Errorf("%d mails: %v", len(all), all)
	}
}

func TestTimeouts(t *testing.T) {
	m := whole("locked")
	short := func(s *server) { s.timeout = 100 * time.Millisecond }

	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, scheme := range []string{"smtp", "smtps"} {
		err = sendTo(t, scheme+"://"+silent.Addr().String(), short, m)
		if err == nil || err.Error() != "SMTP connect: timeout" {
			t.Errorf("%s, silent server: %v", scheme, err)
		}
	}

	srv := mailtest.New(t)
	srv.Behave(mailtest.Hang, -1)
	var got *SendError
	if err = sendTo(t, srv.URL(), short, m); !errors.As(err, &got) || got.Step != "content" || got.Permanent() {
		t.Errorf("server that hangs: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = newTestSender(t, srv.URL()).Send(ctx, m)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("context that ends: %v after %s", err, time.Since(start))
	}
}

func TestNoServer(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	err = newTestSender(t, "smtp://"+gone.Addr().String()).Send(t.Context(), whole("locked"))
	if err == nil || err.Error() != "SMTP connect: connection refused" {
		t.Error(err)
	}
}

func TestEncryption(t *testing.T) {
	const user, password = "kluis@relay.example", "hunter2 /ü"
	same := func(*server) {}
	for name, c := range map[string]struct {
		srv   *mailtest.Server
		setup func(*mailtest.Server) func(*server)
		want  string
	}{
		"STARTTLS offered, own certificate, this machine": {srv: mailtest.NewTLS(t, "", "")},
		"STARTTLS offered, trusted":                       {srv: mailtest.NewTLS(t, "", ""), setup: trust},
		"log-in, trusted":                                 {srv: mailtest.NewTLS(t, user, password), setup: trust},
		"log-in, smtps, trusted":                          {srv: mailtest.NewImplicitTLS(t, user, password), setup: trust},
		"smtps, own certificate, this machine":            {srv: mailtest.NewImplicitTLS(t, "", "")},
		"log-in, not trusted": {
			srv: mailtest.NewTLS(t, user, password), want: "certificate signed by unknown authority",
		},
		"log-in, smtps, not trusted": {
			srv: mailtest.NewImplicitTLS(t, user, password), want: "certificate signed by unknown authority",
		},
		"log-in, another name in the certificate": {
			srv: mailtest.NewTLS(t, user, password), want: "localhost",
			setup: func(srv *mailtest.Server) func(*server) {
				return func(s *server) { s.roots, s.host = srv.Roots(), "localhost" }
			},
		},
		"log-in, but no STARTTLS": {
			srv: mailtest.New(t), want: "no STARTTLS",
			setup: func(*mailtest.Server) func(*server) {
				return func(s *server) { s.user, s.password = user, password }
			},
		},
		"wrong password": {
			srv: mailtest.NewTLS(t, user, password), want: "SMTP connect: 535",
			setup: func(srv *mailtest.Server) func(*server) {
				return func(s *server) { s.roots, s.password = srv.Roots(), "wrong" }
			},
		},
		"log-in needed, none given": {
			srv: mailtest.NewTLS(t, user, password), want: "SMTP sender: 502 5.7.0",
			setup: func(*mailtest.Server) func(*server) { return func(s *server) { s.user = "" } },
		},
	} {
		change := same
		if c.setup != nil {
			change = c.setup(c.srv)
		}
		err := sendTo(t, c.srv.URL(), change, whole("locked"))
		if c.want == "" {
			if err != nil || len(c.srv.Messages()) != 1 {
				t.Errorf("%s: %v, %d mails", name, err, len(c.srv.Messages()))
			}
			continue
		}
		var got *SendError
		if !errors.As(err, &got) || got.Permanent() || !strings.Contains(err.Error(), c.want) || len(c.srv.Messages()) != 0 {
			t.Errorf("%s: %v, %d mails", name, err, len(c.srv.Messages()))
		}
		if strings.Contains(fmt.Sprint(err), user) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func trust(srv *mailtest.Server) func(*server) {
	return func(s *server) { s.roots = srv.Roots() }
}

func TestParseServer(t *testing.T) {
	for raw, want := range map[string]server{
		"smtp://mail.example.org":               {host: "mail.example.org", port: 25},
		"smtp://mail.example.org/":              {host: "mail.example.org", port: 25},
		"smtp://[::1]:2525":                     {host: "::1", port: 2525},
		"smtp://u:p@mail.example.org":           {host: "mail.example.org", port: 587, user: "u", password: "p"},
		"smtp://u%40x:p%2F%3A@mail.example:26":  {host: "mail.example", port: 26, user: "u@x", password: "p/:"},
		"smtps://u:p@mail.example.org":          {host: "mail.example.org", port: 465, user: "u", password: "p", implicit: true},
		"mail.example.org:25":                   {},
		"http://mail.example.org":               {},
		"smtp://":                               {},
		"smtp://:25":                            {},
		"smtp://mail.example.org:0":             {},
		"smtp://mail.example.org:65536":         {},
		"smtp://hunter2@mail.example.org":       {},
		"smtp://:hunter2@mail.example.org":      {},
		"smtp://u:hunter2@mail.example.org?x=1": {},
		"smtp://u:hunter2@mail.example.org/x":   {},
		"smtp://u:hunter2%@mail.example.org":    {},
		"smtp://u:hunter2/@mail.example.org":    {},
	} {
		want.timeout = stepTimeout
		got, err := parseServer(raw)
		if (err == nil) != (want.host != "") || err == nil && got != want {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "mail")
	var log bytes.Buffer
	s, err := NewSender("", dir, "kluis@example.org", slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m := whole("signup_code")
	for range 3 {
		if err := s.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	shape := regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}Z-[0-9a-f-]{36}\.eml$`)
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(dir, e.Name())
		if err != nil || info.Mode().Perm() != 0o600 || !shape.MatchString(e.Name()) || !strings.Contains(log.String(), path) {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
		got, err := mailtest.ReadFile(path)
		if err != nil || got.Code() != "048213" || got.Header.Get("To") != "<zoe@example.org>" {
			t.Errorf("%v: %+v", err, got)
		}
	}
	saysNothing(t, m, log.String())

	os.RemoveAll(dir)
	if err := s.Send(t.Context(), m); err == nil {
		t.Error("no error without the folder")
	}
}

func TestNewSenderRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, c := range [][3]string{
		{"", "", from}, {"imap://x", "", from}, {"smtp://x", "", ""}, {"smtp://x", "", "kluis"}, {"smtp://x", "", "a@b.example\r\nBcc: c@d.example"},
	} {
		if _, err := NewSender(c[0], c[1], c[2], log); err == nil {
			t.Errorf("%q: no error", c)
		}
	}
}
