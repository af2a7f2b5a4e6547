package commands

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
)

// stranger knows slug and address, and comes from another network each time.
func stranger(i int) Origin {
	return Origin{IP: netip.AddrFrom4([4]byte{203, 0, byte(i), 1}), UserAgent: "stranger"}
}

// from is a log-in from an address, with the device token of an earlier one.
func (p *person) from(at Origin, device, password string) (Admitted, error) {
	return p.h.Login(context.Background(), Credentials{Workspace: p.slug, Email: p.email, Password: password, Device: device, From: at})
}

func (p *person) forget(at Origin, device string) error {
	return p.h.ForgotPassword(context.Background(), Forgotten{Workspace: p.slug, Email: p.email, Device: device, From: at})
}

// Strangers from 12 networks do everything they can at once. Meanwhile the only admin logs in, from the usual network and with the device from anywhere. A
// code for a new password comes, and works.
func TestStrangersHarmNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	in, err := ada.from(home, "", ada.password)
	if err != nil || in.Device == "" {
		t.Fatal(err)
	}
	harm := func() {
		race(60, func(i int) error {
			at := stranger(i % 12)
			switch i % 4 {
			case 0, 1:
				_, _ = h.process(i).Login(context.Background(), Credentials{Workspace: ada.slug, Email: ada.email, Password: wrong, Device: "stolen", From: at})
			case 2:
				_ = ada.forget(at, in.Device[1:])
			default:
				_ = h.process(i).ResetPassword(context.Background(), NewPassword{Workspace: ada.slug, Email: ada.email, Code: "123456", Password: newPassword(), From: at})
			}
			return nil
		})
		h.settle()
	}
	for range 3 {
		harm()
	}
	away := Origin{IP: netip.MustParseAddr("198.51.100.9")}
	if _, err := ada.from(away, "", ada.password); refusedAs(err) != "locked" {
		t.Errorf("strangers are not locked out: %v", err)
	}
	for what, err := range map[string]error{"at home": errOf(ada.from(home, "", ada.password)), "with the device": errOf(ada.from(away, in.Device, ada.password))} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, by := range map[string]client{"at home": {home, ""}, "with the device": {away, in.Device}} {
		before := len(h.codes(t, "reset_code", ada.email))
		if err := ada.forget(by.from, by.device); err != nil {
			t.Fatal(err)
		}
		h.settle()
		codes := h.codes(t, "reset_code", ada.email)
		if len(codes) != before+1 {
			t.Fatalf("%s: %d mails, before %d", what, len(codes), before)
		}
		harm() // uses up the attempts that strangers have
		fresh := newPassword()
		err := h.ResetPassword(t.Context(), NewPassword{Workspace: ada.slug, Email: ada.email, Code: codes[0], Password: fresh, Device: by.device, From: by.from})
		if err != nil {
			t.Errorf("%s: the code: %v", what, err)
		}
		ada.password = fresh
	}
	if _, err := ada.from(away, "", ada.password); err != nil {
		t.Errorf("after the reset, as a stranger: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// 30 colleagues behind one address log in at nine. Those who find no place are told to come back in seconds, and soon all are in.
func TestAnOfficeAtNine(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	people := []*person{ada}
	for len(people) < 30 {
		people = append(people, ada.member(t, "member"))
	}
	office := Origin{IP: netip.MustParseAddr("2001:db8:5::1")}
	ended := race(len(people), func(i int) error {
		for {
			_, err := h.process(i).Login(context.Background(), Credentials{Workspace: ada.slug, Email: people[i].email, Password: people[i].password, From: office})
			r, _ := domain.Refusal(err)
			if r == nil || r.Code != "attempts_under_way" && r.Code != "busy" {
				return err
			}
			if r.RetryAfter > 5*time.Second {
				return fmt.Errorf("wait %s", r.RetryAfter)
			}
			time.Sleep(r.RetryAfter / 20)
		}
	})
	wantEnded(t, "right passwords", ended, map[string]int{"": 30})
}

// A known device has a counter of its own. When it has failed too often it counts as any other client, and the account does not suffer.
func TestDevice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	grace := ada.member(t, "member")
	in, err := ada.from(home, "", ada.password)
	if err != nil {
		t.Fatal(err)
	}
	away := stranger(1)
	for range 5 {
		if _, err := ada.from(away, in.Device, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	for range 5 { // like a stranger
		if _, err := ada.from(away, in.Device, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	if _, err := ada.from(away, in.Device, ada.password); refusedAs(err) != "locked" {
		t.Errorf("after 10 failures: %v", err)
	}
	if _, err := ada.from(home, "", ada.password); err != nil {
		t.Errorf("at home: %v", err)
	}
	for range 5 { // the device of another account does not count
		if _, err := grace.from(away, in.Device, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	if _, err := grace.from(away, in.Device, grace.password); refusedAs(err) != "locked" {
		t.Errorf("with another's device: %v", err)
	}
}

// Besides the short counter there is a long one: 20 failures a day, even when locks end in between, and 20 wrong codes of a second factor a day over all
// circles, which no new password resets.
func TestLongCounters(t *testing.T) {
	t.Parallel()
	rules := without(limit.LoginIP)
	rules[limit.LoginAccount] = limit.Rule{Most: 1000, Span: time.Second}
	h := newHouse(t, settings{rules: rules})
	ada := h.found(t)
	for range 20 {
		if _, err := ada.logIn(0, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	_, err := ada.logIn(0, ada.password)
	if r, _ := domain.Refusal(err); r == nil || r.Code != "locked" || r.RetryAfter < 23*time.Hour {
		t.Errorf("after 20 failures: %v", err)
	}
	if _, err := h.UnlockMember(t.Context(), Request{By: ada.actor(t)}, ada.id); err != nil {
		t.Fatal(err)
	}
	d := ada.enrol(t)
	for i := range 20 {
		if _, err := h.Login(t.Context(), Credentials{Workspace: ada.slug, Email: ada.email, Password: ada.password, Code: d.wrong(), From: stranger(i)}); refusedAs(err) != "bad_code" {
			t.Fatalf("%d: %v", i, err)
		}
	}
	for _, at := range []Origin{home, stranger(99)} {
		_, err := h.Login(t.Context(), Credentials{Workspace: ada.slug, Email: ada.email, Password: ada.password, Code: d.code(t), From: at})
		if refusedAs(err) != "locked" {
			t.Errorf("after 20 wrong codes: %v", err)
		}
	}
	fresh := newPassword()
	if err := ada.reset(0, ada.resetCode(t), fresh); err != nil {
		t.Fatal(err)
	}
	_, err = h.Login(t.Context(), Credentials{Workspace: ada.slug, Email: ada.email, Password: fresh, Code: d.code(t), From: home})
	if refusedAs(err) != "locked" {
		t.Errorf("after a reset: %v", err)
	}
}

// A request over the limit of the network stores no row, and is refused. Invented accounts do not fill a table.
func TestForgottenAccountsDoNotPileUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	rows := func() (n int) {
		t.Helper()
		err := h.DB.Control(t.Context(), func(tx pgx.Tx) error {
			return tx.QueryRow(t.Context(), `select count(*) from kluis.counter`).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := rows()
	ended := race(200, func(i int) error {
		return h.process(i).ForgotPassword(context.Background(), Forgotten{Workspace: ada.slug, Email: fmt.Sprintf("nobody%d@people.example", i), From: home})
	})
	wantEnded(t, "made-up accounts", ended, map[string]int{"": 60, "too_many_requests": 140})
	h.settle()
	if n := rows() - before; n > 2*60+1 {
		t.Errorf("%d rows of counters", n)
	}
	if n := ada.count(t, `select count(*) from password_reset`); n > 60 {
		t.Errorf("%d rows of codes", n)
	}
}

// The invited person can ask again for an invitation whose code others have used up.
func TestBurntInvitation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	invited, code := ada.invite(t, "member")
	accept := func(at Origin, code string) error {
		_, err := h.AcceptInvitation(context.Background(), at, invited.slug, invited.email, code, invited.password)
		return err
	}
	for range 5 {
		if err := accept(stranger(1), other(code)); refusedAs(err) != "bad_code" {
			t.Fatal(err)
		}
	}
	if err := accept(home, code); refusedAs(err) != "bad_code" {
		t.Errorf("after 5 wrong ones: %v", err)
	}
	if err := invited.forget(home, ""); err != nil {
		t.Fatal(err)
	}
	h.settle()
	codes := h.codes(t, "invitation_code", invited.email)
	if len(codes) != 2 {
		t.Fatalf("%d mails", len(codes))
	}
	if err := accept(home, codes[0]); err != nil {
		t.Errorf("the new code: %v", err)
	}
}

// An inviter can send another code for an invitation that others used up. All workspaces together send a stranger few.
func TestInvitationsAreLimited(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.SignupIP)})
	ada, eve := h.found(t), h.found(t)
	invite := func(i int, by *person, email, role string) error {
		_, err := h.process(i).InviteMember(context.Background(), Request{By: by.actor(t)}, Invitation{Email: email, FullName: "Grace Hopper", Role: role})
		return err
	}
	invitations := kept(race(20, func(i int) error { return invite(i, []*person{ada, eve}[i%2], "ｖictim@people.example", "member") }), "email_taken")
	for i, by := range []*person{ada, eve} { // all of whose invitations may have had to wait
		if err := invite(i, by, "ｖictim@people.example", "member"); err == nil {
			invitations[""]++
			invitations["email_taken"]--
		}
	}
	wantEnded(t, "one address, two workspaces", invitations, map[string]int{"": 2, "email_taken": 18})
	for i := range 5 {
		want := "too_many_requests"
		if i < 3 {
			want = ""
		}
		if err := invite(i, h.found(t), "victim@people.example", "member"); refusedAs(err) != want {
			t.Errorf("another workspace, %d: %v", i, err)
		}
	}
	if err := invite(0, ada, "other@people.example", "member"); err != nil {
		t.Errorf("another address: %v", err)
	}
	if err := invite(0, ada, "other@people.example", "member"); refusedAs(err) != "email_taken" {
		t.Errorf("once more at once: %v", err)
	}
	other, _ := ada.invite(t, "member")
	ada.later(t, `update invitation set expires_at = expires_at - make_interval(secs => $1)`, 2*time.Minute)
	if err := invite(0, ada, other.email, "member"); err != nil {
		t.Errorf("once more after a minute: %v", err)
	}
	for what, err := range map[string]error{"to another role": invite(0, ada, other.email, "viewer"), "to a look-alike": invite(0, ada, strings.ToUpper(other.email), "member")} {
		if refusedAs(err) != "email_taken" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := ada.count(t, `select count(*) from event where type = 'member.invited_again'`); n < 1 {
		t.Errorf("%d events", n)
	}
	grace := ada.member(t, "member")
	if err := invite(0, ada, grace.email, "member"); refusedAs(err) != "email_taken" {
		t.Errorf("who has joined: %v", err)
	}
	rules := limit.Defaults()
	rules[limit.InviteMember], rules[limit.InviteDay] = limit.Rule{Most: 3, Span: time.Hour}, limit.Rule{Most: 4, Span: time.Hour}
	h = newHouse(t, settings{rules: rules})
	ada = h.found(t)
	bob := ada.member(t, "admin") // counts as one invitation
	ended := race(12, func(i int) error {
		_, err := h.InviteMember(context.Background(), Request{By: []*person{ada, bob}[i%2].actor(t)}, Invitation{Email: fmt.Sprintf("p%d@people.example", i), FullName: "P", Role: "member"})
		return err
	})
	wantEnded(t, "two inviters of one workspace", kept(ended, "too_many_requests"), map[string]int{"": 3, "too_many_requests": 9})
}
