package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// house is a database with the commands of some processes. Nothing sends the mails.
type house struct {
	*Commands // the first process
	url       string
	others    []*Commands
	log       *logText
}

// settings has what a test wants to be different.
type settings struct {
	rules     limit.Rules
	processes int
	slots     int
	params    password.Params
}

func newHouse(t testing.TB, s settings) *house {
	t.Helper()
	if s.rules == nil {
		s.rules = limit.Defaults()
	}
	url := pgtest.Clone(t, "commands", func(url string) error {
		db, err := pg.Open(context.Background(), url, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
		if err != nil {
			return err
		}
		if err := directory.Migrate(context.Background(), nil); err != nil {
			return err
		}
		return mail.Migrate(context.Background(), db)
	})
	file := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(file); err != nil {
		t.Fatal(err)
	}
	h := &house{url: url, log: &logText{}}
	for i := range max(1, s.processes) {
		c := h.open(t, file, s)
		if i == 0 {
			h.Commands = c
		} else {
			h.others = append(h.others, c)
		}
	}
	return h
}

func (h *house) open(t testing.TB, keyFile string, s settings) *Commands {
	t.Helper()
	log := slog.New(slog.NewJSONHandler(h.log, nil))
	db := ok(pg.Open(t.Context(), h.url, 12))
	t.Cleanup(db.Close)
	ring := ok(keyring.Load(keyFile, ""))
	store := eventstore.New(db, eventstore.NewBell())
	t.Cleanup(store.Close)
	jobs := ok(river.NewClient(riverpgxv5.New(db.Pool()), mail.Config(slog.New(slog.DiscardHandler))))
	if s.params == (password.Params{}) {
		s.params = password.Floor
	}
	if s.slots == 0 {
		s.slots = 2
	}
	c := New(Needs{
		DB: db, Store: store, Projections: projections.New(db, store, eventstore.NewBell(), 30*time.Second),
		Tenancy: ok(tenancy.New(db, migrations.Control, migrations.Workspace)), Keys: ring, Vault: vault.New(db, ring),
		Hasher: ok(password.NewHasher(s.params, s.slots, 200)),
		Outbox: mail.NewOutbox(jobs, func(plain []byte) (string, error) { return ring.Seal("kluis/mail", plain) }),
		Limits: ok(limit.Open(t.Context(), db, ring, s.rules, log)), Log: log, Region: "be",
	})
	t.Cleanup(c.Wait)
	return c
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// process gives one of the processes.
func (h *house) process(i int) *Commands {
	all := append([]*Commands{h.Commands}, h.others...)
	return all[i%len(all)]
}

// comparisons counts the passwords and codes that all processes compared since the last call.
func (h *house) comparisons() (n int64) {
	for i := range 1 + len(h.others) {
		n += h.process(i).compared.Swap(0)
	}
	return n
}

// settle waits for the background work of all processes.
func (h *house) settle() {
	for i := range 1 + len(h.others) {
		h.process(i).Wait()
	}
}

// person is a member, with the secrets that only the member knows.
type person struct {
	h        *house
	in       pg.Workspace
	slug     string
	id       uuid.UUID
	email    string
	password string
	token    string
}

var home = Origin{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "test"}

func (h *house) found(t testing.TB) *person {
	t.Helper()
	slug := "w" + uuid.NewString()[:13]
	p := &person{h: h, slug: slug, email: "ada@" + slug + ".example", password: "correct horse " + uuid.NewString()}
	id, err := h.SignUp(t.Context(), Signup{Slug: slug, Name: "Works of " + slug, Email: p.email, FullName: "Ada Lovelace", Password: p.password, From: home})
	if err != nil {
		t.Fatal(err)
	}
	in, err := h.VerifySignup(t.Context(), home, id, h.codes(t, "signup_code", p.email)[0])
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.id, p.token = in.In, in.Member.ID, in.Token
	h.comparisons()
	return p
}

// invite invites a person, who gets a code and has not joined.
func (p *person) invite(t testing.TB, role string) (invited *person, code string) {
	t.Helper()
	m := &person{h: p.h, in: p.in, slug: p.slug, email: uuid.NewString()[:13] + "@people.example", password: "correct horse " + uuid.NewString()}
	done, err := p.h.InviteMember(t.Context(), Request{By: p.actor(t)}, Invitation{Email: m.email, FullName: "Grace Hopper", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	m.id = done.State.ID
	err = p.h.DB.Control(t.Context(), func(tx pgx.Tx) error {
		return p.h.SendInvitation(t.Context(), tx, p.in, domain.MemberInvited{MemberID: m.id, Email: done.State.Email, FullName: done.State.FullName})
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, p.h.codes(t, "invitation_code", m.email)[0]
}

func (p *person) member(t testing.TB, role string) *person {
	t.Helper()
	m, code := p.invite(t, role)
	in, err := p.h.AcceptInvitation(t.Context(), home, m.slug, m.email, code, m.password)
	if err != nil {
		t.Fatal(err)
	}
	m.token = in.Token
	p.h.comparisons()
	return m
}

func (p *person) actor(t testing.TB) projections.Actor {
	t.Helper()
	a, err := p.h.Authenticate(t.Context(), p.token)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// logIn logs in at one of the processes, from home.
func (p *person) logIn(process int, password string) (string, error) {
	in, err := p.h.process(process).Login(context.Background(), Credentials{Workspace: p.slug, Email: p.email, Password: password, From: home})
	return in.Token, err
}

// resetCode asks for a code, and reads it from the mail.
func (p *person) resetCode(t testing.TB) string {
	t.Helper()
	before := len(p.h.codes(t, "reset_code", p.email))
	if err := p.h.ForgotPassword(t.Context(), Forgotten{Workspace: p.slug, Email: p.email, From: home}); err != nil {
		t.Fatal(err)
	}
	p.h.settle()
	codes := p.h.codes(t, "reset_code", p.email)
	if len(codes) != before+1 {
		t.Fatalf("%d mails with codes, before that %d", len(codes), before)
	}
	return codes[0]
}

func (p *person) reset(process int, code, password string) error {
	return p.h.process(process).ResetPassword(context.Background(), NewPassword{Workspace: p.slug, Email: p.email, Code: code, Password: password, From: home})
}

// later makes stored things end sooner, because the clock of the database cannot be set: sql subtracts $1 seconds.
func (p *person) later(t testing.TB, sql string, by time.Duration) {
	t.Helper()
	if err := p.h.DB.Do(t.Context(), p.in, pg.Exec(sql, by.Seconds())); err != nil {
		t.Fatal(err)
	}
}

// types gives the types of events of the person's account, and of the roster about second factors, the oldest first.
func (p *person) types(t testing.TB) (types []string) {
	t.Helper()
	p.h.settle()
	err := p.h.DB.Read(t.Context(), p.in, pg.Column(&types, `select type from event
		where stream = $1 or stream = 'roster' and type like 'member.two_factor%' and data ->> 'member_id' = $2 order by position`, domain.AccountStream(p.id), p.id.String()))
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func (p *person) wantTypes(t testing.TB, want ...string) {
	t.Helper()
	got := p.types(t)
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], "member.")
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// codes gives the codes in the mails of a template to an address, the newest first; "-" for a mail without a code.
func (h *house) codes(t testing.TB, template, address string) (codes []string) {
	t.Helper()
	for _, m := range h.mails(t) {
		if m.Template == template && m.To == address {
			codes = append(codes, max(m.Values["Code"], "-"))
		}
	}
	return codes
}

// mails gives the waiting mails, the newest first.
func (h *house) mails(t testing.TB) (all []mail.Message) {
	t.Helper()
	rows, _ := h.DB.Pool().Query(context.Background(), `select args ->> 'sealed' from kluis_jobs.river_job where kind = 'mail' order by id desc`)
	for _, sealed := range ok(pgx.CollectRows(rows, pgx.RowTo[string])) {
		var m mail.Message
		if err := json.Unmarshal(ok(h.Keys.Open("kluis/mail", sealed)), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// refusedAs gives the code of a refusal; "" for no error.
func refusedAs(err error) string {
	if err == nil {
		return ""
	}
	r, isRefusal := domain.Refusal(err)
	if !isRefusal {
		return "not a refusal: " + err.Error()
	}
	return r.Code
}

// race runs n calls at once, and counts their outcomes.
func race(n int, do func(i int) error) map[string]int {
	var mu sync.Mutex
	ended := map[string]int{}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			code := refusedAs(do(i))
			mu.Lock()
			defer mu.Unlock()
			ended[code]++
		})
	}
	close(start)
	wg.Wait()
	return ended
}

// kept counts calls that found attempts under way together with those that came too late, because chance decides which of the two happens.
func kept(ended map[string]int, late string) map[string]int {
	if n := ended["attempts_under_way"]; n > 0 {
		ended[late] += n
		delete(ended, "attempts_under_way")
	}
	return ended
}

// unlimited turns off the limits that stop callers who fail often on purpose.
var unlimited = []string{limit.LoginIP, limit.LoginAccount, limit.LoginDay, limit.LoginRun, limit.FactorDay, limit.FactorRun}

func wantEnded(t testing.TB, what string, got, want map[string]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// logText is a log that goroutines write at once.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
