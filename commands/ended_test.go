package commands

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
)

func (p *person) count(t testing.TB, sql string, args ...any) (n int) {
	t.Helper()
	if err := p.h.DB.Read(context.Background(), p.in, pg.Exec(sql, args...).Scan(&n)); err != nil {
		t.Fatal(err)
	}
	return n
}

func newToken() domain.TokenCreated {
	return domain.TokenCreated{Name: "x", ExpiresAt: time.Now().Add(time.Hour)}
}

// Whoever was let in, and whose session or token ended before the command was decided, changes nothing.
func TestNothingAfterTheSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	bySession := Request{By: ada.actor(t)}
	made, text, err := h.CreateToken(t.Context(), bySession, newToken())
	if err != nil {
		t.Fatal(err)
	}
	byToken := Request{By: ok(h.Authenticate(t.Context(), text))}
	if _, err := h.CreateTask(t.Context(), byToken, domain.TaskCreated{Title: "before"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RevokeToken(t.Context(), bySession, made.State.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Logout(t.Context(), bySession.By); err != nil {
		t.Fatal(err)
	}
	head := ada.count(t, `select position from head`)
	for _, r := range []Request{bySession, byToken} {
		if _, err := h.CreateTask(t.Context(), r, domain.TaskCreated{Title: "after"}); refusedAs(err) != "unauthenticated" {
			t.Errorf("a task: %v", err)
		}
	}
	if _, _, err := h.CreateToken(t.Context(), bySession, newToken()); refusedAs(err) != "unauthenticated" {
		t.Errorf("a token: %v", err)
	}
	if now := ada.count(t, `select position from head`); now != head {
		t.Errorf("%d events afterwards", now-head)
	}
	if n := ada.count(t, `select count(*) from token_secret`); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

// Whoever was thrown out turns on no second factor of theirs, and changes nothing else about the account.
func TestNoSecondFactorOfAThief(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: limit.Rules{}})
	ada := h.found(t)
	thief := ada.actor(t)
	proposal, err := h.BeginTwoFactor(t.Context(), thief, home, ada.password)
	if err != nil {
		t.Fatal(err)
	}
	stolen := &device{p: ada, secret: proposal.Secret}
	ada.token = ok(ada.logIn(0, ada.password))
	if err := h.ChangePassword(t.Context(), ada.actor(t), home, ada.password, "another "+ada.password); err != nil {
		t.Fatal(err)
	}
	head := ada.count(t, `select position from head`)
	for what, do := range map[string]func() error{
		"confirm": func() error { _, err := h.ConfirmTwoFactor(t.Context(), thief, home, stolen.code(t)); return err },
		"begin": func() error {
			_, err := h.BeginTwoFactor(t.Context(), thief, home, "another "+ada.password)
			return err
		},
		"renew": func() error { _, err := h.RenewRecoveryCodes(t.Context(), thief, home, stolen.code(t)); return err },
		"disable": func() error {
			return h.DisableTwoFactor(t.Context(), thief, home, "another "+ada.password, stolen.code(t))
		},
		"password": func() error {
			return h.ChangePassword(t.Context(), thief, home, "another "+ada.password, "third "+ada.password)
		},
	} {
		if err := do(); refusedAs(err) != "unauthenticated" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := ada.count(t, `select count(*) from two_factor`); n != 0 {
		t.Errorf("%d second factors", n)
	}
	if now := ada.count(t, `select position from head`); now != head {
		t.Errorf("%d events", now-head)
	}
	if _, err := h.ConfirmTwoFactor(t.Context(), ada.actor(t), home, stolen.code(t)); refusedAs(err) != "two_factor_not_begun" {
		t.Errorf("what the thief proposed: %v", err)
	}
}

// A token that is asked for while the password is replaced is gone afterwards, or was never there.
func TestNoTokenOutlivesAReset(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: limit.Rules{}, processes: 2})
	ada := h.found(t)
	for round := range 15 {
		r := Request{By: ada.actor(t)}
		code := ada.resetCode(t)
		var both sync.WaitGroup
		for range 3 {
			both.Go(func() {
				for range 4 {
					_, _, err := h.process(1).CreateToken(context.Background(), r, newToken())
					if ended := refusedAs(err); ended != "" && ended != "unauthenticated" {
						t.Errorf("a token: %v", err)
					}
				}
			})
		}
		both.Go(func() {
			if err := ada.reset(0, code, "another "+ada.password); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if n := ada.count(t, `select count(*) from token_secret`); n != 0 {
			t.Fatalf("round %d: %d tokens outlive the reset", round, n)
		}
		var err error
		if ada.token, err = ada.logIn(0, "another "+ada.password); err != nil {
			t.Fatal(err)
		}
	}
}

// An integration's tokens are destroyed because the log says that it is disconnected, and not before.
func TestDisconnectDecidesFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	bob := ada.member(t, "admin")
	made, err := h.ConnectIntegration(t.Context(), Request{By: ada.actor(t)}, domain.IntegrationConnected{Provider: "github", Name: "x"}, Secrets{Access: "s"})
	if err != nil {
		t.Fatal(err)
	}
	secrets := func() int { return ada.count(t, `select count(*) from integration_secret`) }
	was := Request{By: bob.actor(t)}
	if _, err := h.ChangeRole(t.Context(), Request{By: ada.actor(t)}, bob.id, "viewer"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.DisconnectIntegration(t.Context(), was, made.State.ID); refusedAs(err) != "integration_not_found" || secrets() != 1 {
		t.Errorf("by who was an admin: %v, %d secrets", err, secrets())
	}
	if _, err := h.DisconnectIntegration(t.Context(), Request{By: ada.actor(t)}, made.State.ID); err != nil || secrets() != 0 {
		t.Errorf("by an admin: %v, %d secrets", err, secrets())
	}
	orphan := pg.Exec(`insert into integration_secret (integration_id, access_token) values ($1, 'left behind')`, made.State.ID)
	if err := h.DB.Do(t.Context(), ada.in, orphan); err != nil { // as after a crash between the two
		t.Fatal(err)
	}
	if _, err := h.DisconnectIntegration(t.Context(), Request{By: ada.actor(t)}, made.State.ID); refusedAs(err) != "integration_not_found" || secrets() != 0 {
		t.Errorf("once more: %v, %d secrets", err, secrets())
	}
}

// However deep tasks are nested, they make no circle.
func TestDepth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	ids := make([]uuid.UUID, 1001)
	var chain eventstore.Append
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
		created := domain.TaskCreated{Title: "x", Status: "open", Priority: "none"}
		if i > 0 {
			created.ParentID = &ids[i-1]
		}
		chain.Writes = append(chain.Writes, ok(encode(domain.TaskStream(ids[i]), 0, []domain.Event{created})))
	}
	chain.Actor = ada.id
	if _, err := h.Store.Append(t.Context(), ada.in, chain); err != nil {
		t.Fatal(err)
	}
	by := Request{By: ada.actor(t)}
	for _, parent := range []uuid.UUID{ids[500], ids[999], ids[1000]} {
		if _, err := h.UpdateTask(t.Context(), by, ids[0], domain.TaskChange{ParentID: domain.To(parent)}); refusedAs(err) != "invalid" {
			t.Errorf("a circle: %v", err)
		}
	}
	if _, err := h.CreateTask(t.Context(), by, domain.TaskCreated{Title: "x", ParentID: &ids[1000]}); refusedAs(err) != "invalid" {
		t.Errorf("too deep: %v", err)
	}
	if _, err := h.CreateTask(t.Context(), by, domain.TaskCreated{Title: "x", ParentID: &ids[998]}); err != nil {
		t.Errorf("as deep as can be: %v", err)
	}
}

// Each mailbox is one member, however its address is spelled.
func TestOneMailbox(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	by := Request{By: ada.actor(t)}
	for i, email := range []string{"zoé@bücher.example", "ZOE\u0301@xn--bcher-kva.example", "Zo\u00e9@B\u00dcCHER.example"} {
		_, err := h.InviteMember(t.Context(), by, Invitation{Email: email, FullName: "Zoé", Role: "member"})
		if want := []string{"", "email_taken", "email_taken"}[i]; refusedAs(err) != want {
			t.Errorf("%q: %v, want %q", email, err, want)
		}
	}
}
