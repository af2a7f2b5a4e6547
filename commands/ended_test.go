package commands

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
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

// A caller whose session or token ended before the command was decided changes nothing.
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
	if err := h.Logout(t.Context(), bySession.By, Origin{}); err != nil {
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

// A caller whose session was ended turns on no second factor, and changes nothing else about the account.
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

// A token that is created while the password is replaced is gone afterwards, or was never stored.
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

// The tokens of an integration are destroyed after the log says that it is disconnected, and not before.
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

// Nested tasks make no cycle, however deep they are.
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
		chain.Writes = append(chain.Writes, ok(encode(domain.TaskStream(ids[i]), 0, []domain.Event{created}, nil)))
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

// A mailbox belongs to one member, however its address is spelled.
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

// A reactivation revives nothing that the deactivation ended: no stolen session, no token, no code.
func TestWhatEndedStaysEnded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	bob := ada.member(t, "manager")
	old := Request{By: bob.actor(t)}
	_, token, err := h.CreateToken(t.Context(), old, newToken())
	if err != nil {
		t.Fatal(err)
	}
	code := bob.resetCode(t)
	proposed := ok(h.BeginTwoFactor(t.Context(), old.By, home, bob.password))
	for i, step := range []func(*Commands, context.Context, Request, uuid.UUID) (Result[domain.Member], error){
		(*Commands).DeactivateMember, (*Commands).ReactivateMember,
	} {
		if _, err := step(h.process(i), t.Context(), Request{By: ada.actor(t)}, bob.id); err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{"session": bob.token, "token": token} {
			if _, err := h.Authenticate(t.Context(), text); refusedAs(err) != "unauthenticated" {
				t.Errorf("step %d: the %s: %v", i, what, err)
			}
		}
		if err := bob.reset(1, code, "correct horse "+uuid.NewString()); refusedAs(err) != "bad_code" {
			t.Errorf("step %d: the code: %v", i, err)
		}
	}
	if _, err := h.CreateTask(t.Context(), old, domain.TaskCreated{Title: "x"}); refusedAs(err) != "unauthenticated" {
		t.Errorf("a command of the old session: %v", err)
	}
	bob.token = ok(bob.logIn(0, bob.password))
	if _, err := h.ConfirmTwoFactor(t.Context(), bob.actor(t), home, (&device{p: bob, secret: proposed.Secret}).code(t)); refusedAs(err) != "two_factor_not_begun" {
		t.Errorf("the proposed second factor: %v", err)
	}
}

// A log-in, a token or a code that is under way during a deactivation opens nothing afterwards.
func TestNothingOutlivesADeactivation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: limit.Rules{}})
	ada := h.found(t)
	bob := ada.member(t, "manager")
	for range 5 {
		by := Request{By: bob.actor(t)}
		race(9, func(i int) error {
			var err error
			switch i % 4 {
			case 0:
				_, err = h.process(i/4).DeactivateMember(context.Background(), Request{By: ada.actor(t)}, bob.id)
			case 1:
				_, err = bob.logIn(i/4, bob.password)
			case 2:
				_, _, err = h.process(i/4).CreateToken(context.Background(), by, newToken())
			case 3:
				err = h.process(i/4).ForgotPassword(context.Background(), Forgotten{Workspace: bob.slug, Email: bob.email, From: home})
			}
			return err
		})
		h.settle()
		if _, err := h.ReactivateMember(t.Context(), Request{By: ada.actor(t)}, bob.id); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{
			`select count(*) from session where member_id = $1`, `select count(*) from token_secret where member_id = $1`,
			`select count(*) from password_reset where email_hash = (select hash from member_email where member_id = $1)`,
		} {
			if n := bob.count(t, table, bob.id); n != 0 {
				t.Errorf("%s: %d", table, n)
			}
		}
		bob.token = ok(bob.logIn(0, bob.password))
	}
}

// A member who is removed and invited again is a new member, and reaches nothing that the old one reached. The log has nothing of the address.
func TestInvitedAgainIsSomebodyNew(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	bob := ada.member(t, "viewer")
	by := Request{By: ada.actor(t)}
	task := ok(h.CreateTask(t.Context(), by, domain.TaskCreated{Title: "x", AssigneeIDs: []uuid.UUID{bob.id}})).State
	ok(h.AddTaskViewer(t.Context(), by, task.ID, bob.id))
	_, token, err := h.CreateToken(t.Context(), Request{By: bob.actor(t)}, newToken())
	if err != nil {
		t.Fatal(err)
	}
	code, hash := bob.resetCode(t), ok(hashOf(h.Commands, bob))
	bob.enrol(t)
	if n := ada.count(t, `select count(*) from event where data::text like '%' || $1 || '%' or meta::text like '%' || $1 || '%'`, hash); n != 0 {
		t.Errorf("the hash of an address is in %d events", n)
	}
	ok(h.RemoveMember(t.Context(), Request{By: ada.actor(t)}, bob.id))
	for _, table := range []string{
		`select count(*) from member_email where member_id = $1`, `select count(*) from credential where member_id = $1`,
		`select count(*) from session where member_id = $1`, `select count(*) from token_secret where member_id = $1`,
		`select count(*) from two_factor where member_id = $1`, `select count(*) from recovery_code where member_id = $1`,
	} {
		if n := ada.count(t, table, bob.id); n != 0 {
			t.Errorf("%s: %d", table, n)
		}
	}
	again := ok(h.InviteMember(t.Context(), Request{By: ada.actor(t)}, Invitation{Email: bob.email, FullName: "Bob", Role: "viewer"})).State
	if again.ID == bob.id {
		t.Fatal("it is the same member")
	}
	if err := bob.reset(0, code, "correct horse "+uuid.NewString()); refusedAs(err) != "bad_code" {
		t.Errorf("the old code: %v", err)
	}
	if _, err := bob.logIn(1, bob.password); refusedAs(err) != "bad_credentials" {
		t.Errorf("the old password: %v", err)
	}
	invitation := domain.MemberInvited{MemberID: again.ID, Email: again.Email, FullName: again.FullName}
	if err := h.DB.Control(t.Context(), func(tx pgx.Tx) error { return h.SendInvitation(t.Context(), tx, bob.in, invitation) }); err != nil {
		t.Fatal(err)
	}
	in, err := h.AcceptInvitation(t.Context(), home, bob.slug, bob.email, h.codes(t, "invitation_code", bob.email)[0], bob.password)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"session": bob.token, "token": token} {
		if _, err := h.Authenticate(t.Context(), text); refusedAs(err) != "unauthenticated" {
			t.Errorf("the old %s: %v", what, err)
		}
	}
	me := ok(h.Authenticate(t.Context(), in.Token))
	if _, _, err := projections.Tasks.Get(t.Context(), h.Projections, me, task.ID); refusedAs(err) != "task_not_found" {
		t.Errorf("the task of the old one: %v", err)
	}
	if tokens, _, err := h.Projections.ListTokens(t.Context(), me, projections.Page{Limit: 50}); err != nil || len(tokens) != 0 {
		t.Errorf("the tokens of the old one: %v, %v", tokens, err)
	}
}

func hashOf(c *Commands, p *person) (string, error) {
	_, hash, err := c.locate(context.Background(), newAccountName(p.slug, p.email))
	return hash, err
}

// Many invitations of one address at once make one member. After a removal the address is free again.
func TestOneAddressInvitedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: limit.Rules{}})
	ada := h.found(t)
	by := ada.actor(t)
	for round := range 10 {
		email := uuid.NewString() + "@people.example"
		var invited [8]uuid.UUID
		invite := func(i int) error {
			role := []string{"member", "viewer"}[i/2%2]
			done, err := h.process(i).InviteMember(context.Background(), Request{By: by}, Invitation{Email: email, FullName: "Grace", Role: role})
			invited[i] = done.State.ID
			return err
		}
		ended := race(len(invited), invite)
		if ended[""] == 0 || ended[""]+ended["email_taken"] != len(invited) { // the same invitation once more is none of another
			t.Errorf("invitations: %v", ended)
		}
		var winner uuid.UUID
		for _, id := range invited {
			if id != uuid.Nil && winner != uuid.Nil && id != winner {
				t.Errorf("two members: %s and %s", id, winner)
			}
			if id != uuid.Nil {
				winner = id
			}
		}
		race(4, func(i int) error {
			if i == 0 {
				return second(h.process(round).RemoveMember(context.Background(), Request{By: by}, winner))
			}
			return invite(i)
		})
		if n := ada.count(t, `select count(*) from member_email`); n > round+2 {
			t.Errorf("%d addresses after %d rounds", n, round+1)
		}
		if _, err := h.Projections.CatchUp(t.Context(), ada.in); err != nil {
			t.Fatal(err)
		}
		if n := ada.count(t, `select count(*) from member m left join member_email e on e.member_id = m.id where (m.status = 'removed') = (e.member_id is not null)`); n != 0 {
			t.Errorf("%d removed members with an address, or others without", n)
		}
	}
}

// A repeated invitation with the same key stores no second address, and no second data key.
func TestAnInvitationRepeated(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	by := Request{By: ada.actor(t), Once: &Once{Key: [32]byte{1}, Fingerprint: [32]byte{2}}}
	wanted := Invitation{Email: "grace@people.example", FullName: "Grace", Role: "member"}
	first := ok(h.InviteMember(t.Context(), by, wanted))
	keys := ada.count(t, `select count(*) from data_key`)
	again := ok(h.process(1).InviteMember(t.Context(), by, wanted))
	if again.State.ID != first.State.ID || again.Position != first.Position {
		t.Errorf("%+v, and first %+v", again, first)
	}
	if n := ada.count(t, `select count(*) from data_key`); n != keys {
		t.Errorf("%d data keys, before %d", n, keys)
	}
	if n := ada.count(t, `select count(*) from member_email`); n != 2 {
		t.Errorf("%d addresses", n)
	}
}
