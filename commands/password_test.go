package commands

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
)

func newPassword() string { return "battery staple " + uuid.NewString() }

func TestReset(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP)})
	ada := h.found(t)
	grace := ada.member(t, "member")
	second, err := ada.logIn(0, ada.password)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, _ = ada.logIn(0, wrong)
	}
	if _, err := ada.logIn(0, ada.password); refusedAs(err) != "locked" {
		t.Fatal(err)
	}
	h.settle()
	code, fresh := ada.resetCode(t), newPassword()
	wantEnded(t, "right codes", race(20, func(i int) error { return ada.reset(i, code, fresh) }), map[string]int{"": 1, "bad_code": 19})
	for _, token := range []string{ada.token, second} {
		if _, err := h.process(1).Authenticate(t.Context(), token); refusedAs(err) != "unauthenticated" {
			t.Errorf("a session from before: %v", err)
		}
	}
	grace.actor(t) // her sessions stay
	if _, err := ada.logIn(1, fresh); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if _, err := ada.logIn(1, ada.password); refusedAs(err) != "bad_credentials" {
		t.Errorf("the old password: %v", err)
	}
	if mails := h.codes(t, "password_changed", ada.email); len(mails) != 1 {
		t.Errorf("%d notices", len(mails))
	}
	want := "logged_in login_failed login_failed login_failed login_failed login_failed locked password_reset unlocked logged_in login_failed"
	ada.wantTypes(t, strings.Fields(want)...)
}

// Of 100 wrong codes at once, at two processes, 5 are compared. Then the code is invalid, and so is a code that has a successor.
func TestWrongResetCodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP)})
	ada := h.found(t)
	first := ada.resetCode(t)
	h.comparisons()
	wantEnded(t, "wrong codes", race(100, func(i int) error { return ada.reset(i, other(first), newPassword()) }), map[string]int{"bad_code": 100})
	if n := h.comparisons(); n != 5 {
		t.Errorf("%d compared, want 5", n)
	}
	if err := ada.reset(0, first, newPassword()); refusedAs(err) != "bad_code" {
		t.Errorf("after 5 attempts: %v", err)
	}
	second := ada.resetCode(t)
	third := ada.resetCode(t)
	if second != third {
		if err := ada.reset(0, second, newPassword()); refusedAs(err) != "bad_code" {
			t.Errorf("one with a successor: %v", err)
		}
	}
	fresh := newPassword()
	if err := ada.reset(0, third, fresh); err != nil {
		t.Fatal(err)
	}
	if err := ada.reset(0, third, newPassword()); refusedAs(err) != "bad_code" {
		t.Errorf("for the second time: %v", err)
	}
	if _, err := ada.logIn(0, fresh); err != nil {
		t.Error(err)
	}
}

// Wrong codes count for the network that they come from, over all accounts, together with wrong passwords. A success, and a refusal for another reason,
// do not count. At the limit nothing is compared.
func TestCodesOfOneAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	for range 22 { // more than may fail
		ada.member(t, "member")
	}
	grace, invitation := ada.invite(t, "member")
	accept := func(i int, p *person, code, password string, from Origin) error {
		_, err := h.process(i).AcceptInvitation(context.Background(), from, p.slug, p.email, code, password)
		return err
	}
	code := ada.resetCode(t)
	for range 22 {
		if err := ada.reset(0, code, "password123"); refusedAs(err) != "invalid" {
			t.Fatal(err)
		}
	}
	h.comparisons()
	ended := race(60, func(i int) error {
		switch nobody := (&person{h: h, slug: ada.slug, email: uuid.NewString() + "@people.example"}); i % 3 {
		case 0:
			return nobody.reset(i, "123456", newPassword())
		case 1:
			return accept(i, nobody, "123456", newPassword(), home)
		default:
			_, err := nobody.logIn(i, wrong)
			return err
		}
	})
	if ended = kept(ended, "too_many_requests"); ended["too_many_requests"] != 40 || ended["bad_code"]+ended["bad_credentials"] != 20 {
		t.Errorf("%v", ended)
	}
	h.comparisons()
	for what, err := range map[string]error{"reset": ada.reset(0, code, newPassword()), "accept": accept(1, grace, invitation, newPassword(), home)} {
		if r, _ := domain.Refusal(err); r == nil || r.Code != "too_many_requests" || r.RetryAfter < 14*time.Minute {
			t.Errorf("%s with the right code: %v", what, err)
		}
	}
	if n := h.comparisons(); n != 0 {
		t.Errorf("%d compared", n)
	}
	if err := h.ForgotPassword(t.Context(), Forgotten{Workspace: ada.slug, Email: ada.email, From: home}); err != nil {
		t.Errorf("asking for a code: %v", err)
	}
	away := Origin{IP: netip.MustParseAddr("198.51.100.2")}
	if err := accept(0, grace, invitation, newPassword(), away); err != nil {
		t.Errorf("from another address: %v", err)
	}
	h.settle()
	code = h.codes(t, "reset_code", ada.email)[0]
	if err := h.ResetPassword(t.Context(), NewPassword{Workspace: ada.slug, Email: ada.email, Code: code, Password: newPassword(), From: away}); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

// After a change to stronger parameters each member gets a new hash at the next log-in, and the old hash is valid until then.
func TestStrongerHashes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	grace := ada.member(t, "member")
	stored := func(p *person) (phc string) {
		if err := h.DB.Read(t.Context(), p.in, pg.Exec(`select password from credential where member_id = $1`, p.id).Scan(&phc)); err != nil {
			t.Fatal(err)
		}
		return phc
	}
	before := stored(ada)
	h.Hasher = ok(password.NewHasher(ok(password.ParseParams("m=20480,t=3,p=1")), 2, 200))
	if _, err := ada.logIn(0, wrong); refusedAs(err) != "bad_credentials" || stored(ada) != before {
		t.Errorf("a wrong password: %v, %s", err, stored(ada))
	}
	for range 2 {
		if _, err := ada.logIn(0, ada.password); err != nil {
			t.Fatal(err)
		}
	}
	if after := stored(ada); !strings.HasPrefix(before, "$argon2id$v=19$m=19456,t=2,p=1$") || !strings.HasPrefix(after, "$argon2id$v=19$m=20480,t=3,p=1$") {
		t.Errorf("before %s, after %s", before, after)
	}
	ended := race(4, func(int) error { _, err := grace.logIn(0, grace.password); return err })
	wantEnded(t, "at once", ended, map[string]int{"": 4})
	ada.actor(t) // her session goes on
}

// An address gets at most 5 codes an hour, also after 30 requests at once, whether it is a member's or not. The answers do not tell.
func TestResetCodesAreLimited(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.ForgotIP)})
	ada := h.found(t)
	for _, email := range []string{ada.email, strings.ToUpper(ada.email), "nobody@people.example"} {
		wantEnded(t, email, race(30, func(i int) error {
			return h.process(i).ForgotPassword(context.Background(), Forgotten{Workspace: ada.slug, Email: email, From: home})
		}), map[string]int{"": 30})
	}
	h.settle()
	if mails := h.codes(t, "reset_code", ada.email); len(mails) != 5 {
		t.Errorf("%d codes, want 5", len(mails))
	}
	if mails := h.codes(t, "reset_code", "nobody@people.example"); len(mails) != 0 {
		t.Errorf("%d codes to nobody", len(mails))
	}
	rules := limit.Defaults()
	if rules[limit.ResetDay] != (limit.Rule{Most: 10, Span: 24 * time.Hour}) {
		t.Error(rules)
	}
}

// Only active members get codes, and the code of one member is wrong for another.
func TestResetIsForActiveMembers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	invited, _ := ada.invite(t, "member")
	out := ada.member(t, "member")
	code := out.resetCode(t)
	if _, err := h.DeactivateMember(t.Context(), Request{By: ada.actor(t)}, out.id); err != nil {
		t.Fatal(err)
	}
	if err := out.reset(0, code, newPassword()); refusedAs(err) != "bad_code" {
		t.Errorf("deactivated meanwhile: %v", err)
	}
	for _, p := range []*person{invited, out, {h: h, slug: ada.slug, email: "no address"}, {h: h, slug: "not-" + ada.slug, email: ada.email}, {h: h, slug: "NUL", email: "a\x00@b.example"}} {
		before := len(h.codes(t, "reset_code", p.email))
		if err := h.ForgotPassword(t.Context(), Forgotten{Workspace: p.slug, Email: p.email, From: home}); err != nil {
			t.Error(err)
		}
		h.settle()
		if n := len(h.codes(t, "reset_code", p.email)); n != before {
			t.Errorf("%d codes for %s", n-before, p.email)
		}
		if err := p.reset(0, "123456", newPassword()); refusedAs(err) != "bad_code" {
			t.Error(err)
		}
	}
	code = ada.resetCode(t)
	elsewhere := h.found(t)
	if err := (&person{h: h, slug: elsewhere.slug, email: elsewhere.email}).reset(0, code, newPassword()); refusedAs(err) != "bad_code" {
		t.Error(err)
	}
	if strings.Contains(h.log.String(), `"ERROR"`) {
		t.Errorf("the log: %s", h.log)
	}
}

func TestResetCodeExpires(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	for _, life := range []time.Duration{15 * time.Minute, 10 * time.Minute} {
		h.ResetCodeLife = life
		for at, want := range map[time.Duration]string{life - 10*time.Second: "", life + time.Second: "bad_code"} {
			code := ada.resetCode(t)
			ada.later(t, `update password_reset set expires_at = expires_at - make_interval(secs => $1)`, at)
			if err := ada.reset(0, code, newPassword()); refusedAs(err) != want {
				t.Errorf("%s of %s: %v", at, life, err)
			}
		}
	}
}

// The new password must obey the policy. A refusal for the policy costs no attempt, unless the code was right.
func TestResetChecksPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	code := ada.resetCode(t)
	for range 3 {
		for _, weak := range []string{"short", "password123", ada.slug + "1", "1Works of " + ada.slug} {
			if err := ada.reset(0, code, weak); refusedAs(err) != "invalid" {
				t.Errorf("%s: %v", weak, err)
			}
		}
	}
	if err := ada.reset(0, code, newPassword()); err != nil {
		t.Error(err)
	}
}

// A session that a log-in opens while the password is replaced ends with the old password, whichever is quicker.
func TestNoSessionOutlivesItsPassword(t *testing.T) {
	t.Parallel()
	rules := without(append(unlimited, limit.ResetAccount, limit.ResetDay)...)
	h := newHouse(t, settings{processes: 2, rules: rules})
	ada := h.found(t)
	for range 8 {
		code, old, fresh := ada.resetCode(t), ada.password, newPassword()
		var mu sync.Mutex
		var tokens []string
		ended := race(7, func(i int) error {
			if i == 6 {
				return ada.reset(i, code, fresh)
			}
			time.Sleep(time.Duration(i) * 15 * time.Millisecond)
			token, err := ada.logIn(i, old)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, token)
			}
			return nil
		})
		wantEnded(t, "all", ended, map[string]int{"": 7})
		for _, token := range tokens {
			if _, err := h.Authenticate(t.Context(), token); refusedAs(err) != "unauthenticated" {
				t.Errorf("a session of the old password goes on: %v", err)
			}
		}
		ada.password = fresh
		if _, err := ada.logIn(0, fresh); err != nil {
			t.Errorf("the new password: %v", err)
		}
		t.Logf("%d logins before the reset", len(tokens))
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	second, err := ada.logIn(0, ada.password)
	if err != nil {
		t.Fatal(err)
	}
	change := func(current, fresh string) error {
		return h.ChangePassword(context.Background(), ada.actor(t), home, current, fresh)
	}
	if err := change(ada.password, "Ada Lovelace "+ada.slug); refusedAs(err) != "invalid" {
		t.Errorf("a weak one: %v", err)
	}
	if err := change(wrong, newPassword()); refusedAs(err) != "invalid" {
		t.Errorf("a wrong one: %v", err)
	}
	if err := change(ada.password, ada.password); refusedAs(err) != "invalid" || !strings.Contains(err.Error(), "already") {
		t.Errorf("the same one: %v", err)
	}
	if _, err := h.Authenticate(t.Context(), second); err != nil {
		t.Errorf("another session, after nothing was changed: %v", err)
	}
	h.settle()
	fresh := newPassword()
	if err := change(ada.password, fresh); err != nil {
		t.Fatal(err)
	}
	ada.actor(t) // the session that changed the password goes on
	if _, err := h.Authenticate(t.Context(), second); refusedAs(err) != "unauthenticated" {
		t.Errorf("another session: %v", err)
	}
	if _, err := ada.logIn(0, fresh); err != nil {
		t.Error(err)
	}
	if mails := h.codes(t, "password_changed", ada.email); len(mails) != 1 {
		t.Errorf("%d notices", len(mails))
	}
	ada.wantTypes(t, "logged_in", "login_failed", "password_changed", "logged_in")
	for range 5 {
		if err := change(wrong, newPassword()); refusedAs(err) != "invalid" {
			t.Fatal(err)
		}
	}
	if err := change(fresh, newPassword()); refusedAs(err) != "locked" {
		t.Errorf("after 5 wrong ones: %v", err)
	}
	if _, err := ada.logIn(0, fresh); err != nil {
		t.Errorf("a login, which whoever found the session did not fail: %v", err)
	}
}

// Of two changes at once one wins, and the other is refused.
func TestChangePasswordTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	by := ada.actor(t)
	ended := race(2, func(i int) error {
		return h.process(i).ChangePassword(context.Background(), by, home, ada.password, newPassword())
	})
	if ended[""] != 1 || ended["password_changed"]+ended["invalid"] != 1 {
		t.Errorf("%v", ended)
	}
	if _, err := h.Authenticate(t.Context(), ada.token); err != nil {
		t.Error(err)
	}
}

// A code does not let an erased member in, and a code that was asked for is not mailed.
func TestResetWithoutAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	grace := ada.member(t, "member")
	if _, err := h.RemoveMember(t.Context(), Request{By: ada.actor(t)}, grace.id); err != nil {
		t.Fatal(err)
	}
	if err := h.ForgotPassword(t.Context(), Forgotten{Workspace: grace.slug, Email: grace.email, From: home}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if codes := h.codes(t, "reset_code", grace.email); len(codes) != 0 {
		t.Error("a removed member got a code")
	}
	if _, err := grace.logIn(0, grace.password); refusedAs(err) != "bad_credentials" {
		t.Error(err)
	}
	if refusedAs(domain.Missing("x")) != "x_not_found" {
		t.Error("refusedAs")
	}
}
