package commands

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func (p *person) require(t testing.TB, roles ...string) Result[domain.Policy] {
	t.Helper()
	done, err := p.h.UpdatePolicy(t.Context(), Request{By: p.actor(t), Origin: home}, &roles)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// No command is accepted on a policy that is no more: an actor who was read before it is read again.
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
		"the policy":  second(h.process(1).UpdatePolicy(t.Context(), Request{By: by}, &roles)),
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

// Of 20 who change the policy from one version, one does; members come and go meanwhile.
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
		_, err := h.process(i).UpdatePolicy(context.Background(), Request{By: by, IfMatch: []int{version}}, &roles)
		return err
	})
	wantEnded(t, "changes", ended, map[string]int{"": 1, "stale": 14, "invited": 5})
	for _, roles := range [][]string{{"nobody"}, {"admin", "admin"}, {"all", "viewer"}, {"\x00"}} {
		if _, err := h.UpdatePolicy(t.Context(), Request{By: ada.actor(t)}, &roles); refusedAs(err) != "invalid" {
			t.Errorf("%q: %v", roles, err)
		}
	}
}
