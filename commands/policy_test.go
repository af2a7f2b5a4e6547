package commands

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

func (p *person) require(t testing.TB, roles ...string) Result[domain.Policy] {
	t.Helper()
	done, err := p.h.UpdatePolicy(t.Context(), Request{By: p.actor(t), Origin: home}, &roles, p.password)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// No command is accepted on an old policy: an actor who was read before the change is read again.
func TestCommandsGuardThePolicy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	ada.enrol(t)
	bob, grace := ada.member(t, "admin"), ada.member(t, "member")
	by := bob.actor(t)
	done := ada.require(t, "admin")
	roles := []string{}
	for what, err := range map[string]error{
		"a task":      second(h.process(1).CreateTask(t.Context(), Request{By: by}, domain.TaskCreated{Title: "x"})),
		"a member":    second(h.process(1).DeactivateMember(t.Context(), Request{By: by}, grace.id)),
		"the policy":  second(h.process(1).UpdatePolicy(t.Context(), Request{By: by}, &roles, bob.password)),
		"two factors": second(h.process(1).ResetTwoFactor(t.Context(), Request{By: by}, grace.id)),
		"an API token": func() error {
			_, _, err := h.process(1).CreateToken(t.Context(), Request{By: by}, domain.TokenCreated{Name: "x", ExpiresAt: time.Now().Add(time.Hour)})
			return err
		}(),
	} {
		if refusedAs(err) != "two_factor_required" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := grace.actor(t).Role.Grants; len(n) == 0 {
		t.Error("it is asked of another role too")
	}
	if now := bob.actor(t); !now.TwoFactor.MustEnrol() || len(now.Role.Grants) != 0 || now.Role.Name != "admin" {
		t.Errorf("%+v", now)
	}
	d := bob.enrol(t)
	if now := bob.actor(t); now.TwoFactor != (domain.TwoFactor{Enabled: true, Required: true}) || len(now.Role.Grants) == 0 {
		t.Errorf("%+v", now)
	}
	if err := h.DisableTwoFactor(t.Context(), bob.actor(t), home, bob.password, d.recovery[0]); refusedAs(err) != "two_factor_required" {
		t.Errorf("turned off under the policy: %v", err)
	}
	if again := ada.require(t, "admin"); again.State.Version != done.State.Version || !again.State.UpdatedAt.Equal(done.State.UpdatedAt) {
		t.Errorf("the same again: %+v, not %+v", again, done)
	}
	if last := bob.require(t); last.State.TwoFactorRoles == nil || len(last.State.TwoFactorRoles) != 0 || last.State.Version <= done.State.Version {
		t.Errorf("%+v", last)
	}
	if err := h.DisableTwoFactor(t.Context(), bob.actor(t), home, bob.password, d.recovery[0]); err != nil {
		t.Errorf("turned off without the policy: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Of 20 changes of the policy from one version, one succeeds. Members come and go meanwhile.
func TestPolicyFromOneVersion(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	ada.enrol(t)
	version := ada.require(t, "viewer").State.Version
	by := ada.actor(t)
	ended := race(20, func(i int) error {
		if i%4 == 0 {
			_, err := h.process(i).InviteMember(context.Background(), Request{By: by}, Invitation{Email: uuid.NewString() + "@people.example", FullName: "Grace", Role: "viewer"})
			if err == nil {
				return domain.Refuse(domain.Conflict, "invited", "")
			}
			return err
		}
		roles := [][]string{{"all"}, {"admin"}, {}}[i%3]
		_, err := h.process(i).UpdatePolicy(context.Background(), Request{By: by, IfMatch: []int{version}}, &roles, ada.password)
		if refusedAs(err) == "attempts_under_way" { // the password was compared before the first change was stored
			return domain.Refuse(domain.Stale, "stale", "")
		}
		return err
	})
	wantEnded(t, "changes", ended, map[string]int{"": 1, "stale": 14, "invited": 5})
	for _, roles := range [][]string{{"nobody"}, {"admin", "admin"}, {"all", "viewer"}, {"\x00"}} {
		if _, err := h.UpdatePolicy(t.Context(), Request{By: ada.actor(t)}, &roles, ada.password); refusedAs(err) != "invalid" {
			t.Errorf("%q: %v", roles, err)
		}
	}
}

// Somebody who found an open session cannot change the policy, because that needs the password. Wrong passwords count as failed log-ins.
func TestThePolicyTakesThePassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	roles, none := []string{"viewer"}, []string{}
	change := func(roles *[]string, password string) string {
		return refusedAs(second(h.UpdatePolicy(t.Context(), Request{By: ada.actor(t), Origin: home}, roles, password)))
	}
	if code := change(&roles, ada.password); code != "two_factor_required" {
		t.Errorf("by who has no second factor: %s", code)
	}
	ada.enrol(t)
	for _, wrong := range []string{"", "wrong"} {
		if code := change(&roles, wrong); code != "invalid" {
			t.Errorf("%q: %s", wrong, code)
		}
	}
	ada.require(t, "viewer")
	if code := change(&none, "wrong"); code != "invalid" {
		t.Errorf("asking less: %s", code)
	}
	if code := change(&roles, ""); code != "" {
		t.Errorf("what changes nothing: %s", code)
	}
	for range 3 { // two were wrong before
		change(&none, "wrong")
	}
	if code := change(&none, ada.password); code != "locked" {
		t.Errorf("after five wrong ones: %s", code)
	}
}

// When the policy requires a second factor of admins, one admin who has it always remains, on every path and under any race.
func TestLastEnrolledAdmin(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: limit.Rules{}})
	ada := h.found(t)
	bob := ada.member(t, "admin")
	ada.enrol(t)
	ada.require(t, "admin")
	for what, err := range map[string]error{
		"demote":     second(h.ChangeRole(t.Context(), Request{By: ada.actor(t)}, ada.id, "member")),
		"deactivate": second(h.DeactivateMember(t.Context(), Request{By: ada.actor(t)}, ada.id)),
		"remove":     second(h.RemoveMember(t.Context(), Request{By: ada.actor(t)}, ada.id)),
	} {
		if refusedAs(err) != "last_admin" {
			t.Errorf("%s: %v", what, err)
		}
	}
	bob.enrol(t)
	type step = func(c *Commands, r Request, id uuid.UUID) error
	steps := []step{
		func(c *Commands, r Request, id uuid.UUID) error {
			return second(c.ChangeRole(context.Background(), r, id, "member"))
		},
		func(c *Commands, r Request, id uuid.UUID) error {
			return second(c.DeactivateMember(context.Background(), r, id))
		},
		func(c *Commands, r Request, id uuid.UUID) error {
			return second(c.ResetTwoFactor(context.Background(), r, id))
		},
	}
	for round := range 2 * len(steps) * len(steps) {
		admins := []*person{ada, bob}
		by := []projections.Actor{ada.actor(t), bob.actor(t)}
		race(2, func(i int) error {
			way := []int{round % len(steps), round / len(steps) % len(steps)}[i]
			return steps[way](h.process(i), Request{By: by[i]}, admins[1-i].id)
		})
		if _, err := h.Projections.CatchUp(t.Context(), ada.in); err != nil {
			t.Fatal(err)
		}
		able := ada.count(t, `select count(*) from member where role = 'admin' and status = 'active' and two_factor`)
		if rows := ada.count(t, `select count(*) from member m join two_factor f on f.member_id = m.id and f.confirmed_at is not null
			where role = 'admin' and status = 'active'`); able != 1 || rows != 1 {
			t.Fatalf("round %d: %d admins can act, %d rows", round, able, rows)
		}
		for i, p := range admins {
			if a, err := h.Authenticate(t.Context(), p.token); err == nil && len(a.Role.Grants) > 0 && a.Role.Name == domain.Admin {
				p.bringBack(t, admins[1-i])
				break
			}
		}
	}
}

// bringBack makes a member an admin who can act again.
func (p *person) bringBack(t testing.TB, other *person) {
	t.Helper()
	by := Request{By: p.actor(t)}
	ok(p.h.ReactivateMember(t.Context(), by, other.id))
	ok(p.h.ChangeRole(t.Context(), by, other.id, domain.Admin))
	ok(p.h.ResetTwoFactor(t.Context(), by, other.id))
	other.token = ok(other.logIn(0, other.password))
	other.enrol(t)
}

// A policy that requires a second factor, and the end of the caller's own second factor, never both succeed.
func TestPolicyAndTheEndOfTwoFactors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: limit.Rules{}})
	ada := h.found(t)
	for round := range 8 {
		d := ada.enrol(t)
		by, roles := ada.actor(t), []string{"admin"}
		ended := race(2, func(i int) error {
			if i == 0 {
				return second(h.process(0).UpdatePolicy(context.Background(), Request{By: by}, &roles, ada.password))
			}
			return h.process(1).DisableTwoFactor(context.Background(), by, home, ada.password, d.recovery[0])
		})
		now := ada.actor(t)
		if now.TwoFactor.MustEnrol() || ended[""] != 1 || ended["two_factor_required"] != 1 {
			t.Fatalf("round %d: %v, %+v", round, ended, now.TwoFactor)
		}
		if now.TwoFactor.Required {
			ada.require(t)
		}
		if now.TwoFactor.Enabled {
			if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, ada.password, d.recovery[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The operator of Kluis helps an only admin, and the log has that without an actor.
func TestOperator(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	bob := ada.member(t, "viewer")
	ada.enrol(t)
	ada.require(t, "admin")
	if err := h.OperatorResetTwoFactor(t.Context(), ada.in, ada.slug, ada.email); err != nil {
		t.Fatal(err)
	}
	ada.alive(t, "the session", ada.token, false)
	ada.token = ok(ada.logIn(0, ada.password)) // without a code, so the session may only turn a second factor on
	if now := ada.actor(t); !now.TwoFactor.MustEnrol() {
		t.Errorf("%+v", now.TwoFactor)
	}
	ada.enrol(t)
	for range 5 {
		_, _ = ada.logIn(0, "wrong")
	}
	if err := h.OperatorUnlock(t.Context(), ada.in, ada.slug, ada.email); err != nil {
		t.Fatal(err)
	}
	if _, err := ada.logIn(0, ada.password); refusedAs(err) != "code_required" {
		t.Errorf("unlocked: %v", err)
	}
	if err := h.OperatorMakeAdmin(t.Context(), ada.in, ada.slug, bob.email); err != nil || bob.actor(t).Role.Name != domain.Admin {
		t.Errorf("%v", err)
	}
	for _, do := range []func(context.Context, pg.Workspace, string, string) error{h.OperatorUnlock, h.OperatorResetTwoFactor, h.OperatorMakeAdmin} {
		if err := do(t.Context(), ada.in, ada.slug, "nobody@people.example"); refusedAs(err) != "member_not_found" {
			t.Errorf("nobody: %v", err)
		}
	}
	invited, _ := ada.invite(t, "viewer")
	if err := h.OperatorMakeAdmin(t.Context(), ada.in, ada.slug, invited.email); refusedAs(err) != "member_not_active" {
		t.Errorf("an invited member: %v", err)
	}
	h.settle()
	n := ada.count(t, `select count(*) from event where actor is null and type in ('member.two_factor_reset', 'member.unlocked', 'member.role_changed')`)
	if n != 3 {
		t.Errorf("%d events of the operator", n)
	}
}
