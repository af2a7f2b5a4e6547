package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// behindForger makes every request claim that it was sent to another host.
type behindForger struct{ http.RoundTripper }

func (f behindForger) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "evil.example"
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server", "Origin", "Referer"} {
		r.Header.Set(name, "https://evil.example")
	}
	r.Header.Set("Forwarded", "host=evil.example;proto=https")
	return f.RoundTripper.RoundTrip(r)
}

// Every mail to a member is in the member's language, has the link of the setting, whatever the headers of the request say, and goes through a real SMTP
// server. Password hashes have the cost of the setting.
func TestMails(t *testing.T) {
	t.Parallel()
	smtp := mailtest.New(t)
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, "KLUIS_LIMITS=signup_ip=off,signup_domain=off", "KLUIS_SMTP_URL="+smtp.URL(),
		"KLUIS_PUBLIC_URL=https://kluis.example.eu/team/", "KLUIS_TRUSTED_PROXIES=127.0.0.0/8")
	s := h.serve(t)
	public := (&client{}).at(s)
	public.http.Transport = behindForger{public.http.Transport}
	mailed := func(to, language, subject string) (code string) {
		t.Helper()
		m := smtp.WaitFor(t, to)
		if !strings.HasPrefix(m.Subject, subject) || !strings.Contains(m.HTML, `lang="`+language+`"`) {
			t.Errorf("to %s in %s: %q", to, language, m.Subject)
		}
		if !strings.Contains(m.Text, " https://kluis.example.eu/team") || strings.Contains(m.Text, "/team/") || strings.Contains(string(m.Raw), "evil") {
			t.Errorf("where to go: %s", m.Text)
		}
		return m.Code()
	}
	in := func(r reply) *client {
		var admitted struct{ Token string }
		decode(t, r.body, &admitted)
		return &client{url: public.url, token: admitted.Token, http: public.http}
	}

	var signup struct {
		SignupID string `json:"signup_id"`
	}
	decode(t, public.want(t, http.StatusAccepted, "POST", "/api/signup", `{"workspace": {"slug": "acme", "name": "Acme"}, "email": "ann@acme.example",
		"full_name": "Ann", "password": "`+plain+`", "language": "nl"}`).body, &signup)
	ann := in(public.want(t, http.StatusCreated, "POST", "/api/signup/verify",
		fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, mailed("ann@acme.example", "nl", "Je code voor"))))

	invite := func(who, more string) string {
		return fmt.Sprintf(`{"email": "%s@acme.example", "full_name": %q, "role": "member"%s}`, who, who, more)
	}
	accept := func(who, code string) *client {
		return in(public.want(t, http.StatusCreated, "POST", "/api/invitations/accept",
			fmt.Sprintf(`{"workspace": "acme", "email": "%s@acme.example", "code": %q, "password": %q}`, who, code, plain)))
	}
	ann.want(t, http.StatusCreated, "POST", "/api/members", invite("bob", ""))
	bob := accept("bob", mailed("bob@acme.example", "nl", "Uitnodiging voor"))
	ann.want(t, http.StatusCreated, "POST", "/api/members", invite("eve", `, "language": "fr"`))
	accept("eve", mailed("eve@acme.example", "fr", "Invitation à"))

	forgot := func(who string) {
		public.want(t, http.StatusAccepted, "POST", "/api/password/forgot", `{"workspace": "acme", "email": "`+who+`@acme.example"}`)
	}
	forgot("eve")
	public.want(t, http.StatusNoContent, "POST", "/api/password/reset", fmt.Sprintf(`{"workspace": "acme", "email": "eve@acme.example", "code": %q,
		"password": "%s too"}`, mailed("eve@acme.example", "fr", "Un nouveau mot de passe"), plain))
	mailed("eve@acme.example", "fr", "Votre mot de passe a été modifié")

	bob.want(t, http.StatusOK, "PATCH", "/api/me", `{"language": "en"}`)
	forgot("bob")
	mailed("bob@acme.example", "en", "A new password")
	for range 5 {
		public.want(t, http.StatusUnauthorized, "POST", "/api/login", `{"workspace": "acme", "email": "bob@acme.example", "password": "wrong"}`)
	}
	mailed("bob@acme.example", "en", "Logging in is blocked")

	admin := h.superuser(t)
	rows, _ := admin.Query(t.Context(), `select password from `+schema(t, admin, "acme")+`.credential`)
	hashes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(hashes) != 3 {
		t.Errorf("%d hashes, %v", len(hashes), err)
	}
	for _, phc := range hashes {
		if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("a hash under %.40s", phc)
		}
	}
}

// door is a proxy before a mail server. While it hangs, no connection gets an answer.
type door struct {
	address string
	server  string

	mu    sync.Mutex
	hangs bool
	held  []net.Conn
}

func newDoor(t *testing.T, server string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{address: l.Addr().String(), server: strings.TrimPrefix(server, "smtp://")}
	t.Cleanup(func() { l.Close(); d.opens() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			d.comes(from)
		}
	}()
	return d
}

func (d *door) comes(from net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hangs {
		d.held = append(d.held, from)
		return
	}
	to, err := net.Dial("tcp", d.server)
	if err != nil {
		from.Close()
		return
	}
	go func() { _, _ = io.Copy(to, from); to.Close() }()
	go func() { _, _ = io.Copy(from, to); from.Close() }()
}

func (d *door) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangs = true
}

func (d *door) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// opens lets waiting connections try again.
func (d *door) opens() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangs = false
	for _, conn := range d.held {
		conn.Close()
	}
	d.held = nil
}

// While the mail server hangs, everything without mails goes on, although more mails wait than are sent at once. When it answers again each mail comes once.
func TestMailServerThatHangs(t *testing.T) {
	t.Parallel()
	smtp := mailtest.New(t)
	door := newDoor(t, smtp.URL())
	h := sharedHome(t, pgtest.Database(t))
	h.env = append(h.env, "KLUIS_SMTP_URL=smtp://"+door.address)
	s := h.serve(t)
	ann := (&client{}).at(s)
	var signup struct {
		SignupID string `json:"signup_id"`
	}
	decode(t, ann.want(t, http.StatusAccepted, "POST", "/api/signup", `{"workspace": {"slug": "acme", "name": "Acme"}, "email": "ann@acme.example", "full_name": "Ann", "password": "`+plain+`"}`).body, &signup)
	var admitted struct{ Token string }
	decode(t, ann.want(t, http.StatusCreated, "POST", "/api/signup/verify", fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, smtp.WaitFor(t, "ann@acme.example").Code())).body, &admitted)
	ann.token = admitted.Token

	door.hang()
	const people = 12
	for i := range people {
		ann.want(t, http.StatusCreated, "POST", "/api/members", fmt.Sprintf(`{"email": "m%d@acme.example", "full_name": "M", "role": "member"}`, i))
	}
	until(t, "mails wait for the server", func() bool { return door.waiting() > 0 })
	ann.task(t, "as ever")
	ann.want(t, http.StatusAccepted, "POST", "/api/password/forgot", `{"workspace": "acme", "email": "ann@acme.example"}`)
	ann.want(t, http.StatusOK, "POST", "/api/login", `{"workspace": "acme", "email": "ann@acme.example", "password": "`+plain+`"}`)
	ann.want(t, http.StatusOK, "GET", "/readyz", "")
	door.opens()

	admin := h.superuser(t)
	came := map[string]int{}
	until(t, "all mails come", func() bool {
		clear(came)
		for _, m := range smtp.Messages() {
			came[m.Header.Get("To")]++
		}
		return len(came) == people+1 && came["<ann@acme.example>"] > 1 && rowCount(t, admin, `select count(*)::int from kluis_jobs.river_job where finalized_at is null`) == 0
	})
	for i := range people {
		if to := fmt.Sprintf("<m%d@acme.example>", i); came[to] != 1 {
			t.Errorf("%d mails came to %s", came[to], to)
		}
	}
}
