package commands

import (
	"context"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// The commands of the operator are for a workspace that cannot help itself: its only admin is locked out, has lost the device, or has left. They run
// like every command, and the log has them without an actor, as done by Kluis itself.

// OperatorUnlock ends the lock of the account with an address, and deletes its counters even when it is not locked.
func (c *Commands) OperatorUnlock(ctx context.Context, w pg.Workspace, slug, email string) error {
	r, account, err := c.operate(ctx, w, slug, email)
	if err != nil {
		return err
	}
	_, err = c.UnlockMember(ctx, r, account.ID)
	return err
}

// OperatorResetTwoFactor turns off the second factor of a member, even of the last admin who can act, because the member can turn it on again alone.
func (c *Commands) OperatorResetTwoFactor(ctx context.Context, w pg.Workspace, slug, email string) error {
	r, account, err := c.operate(ctx, w, slug, email)
	if err != nil {
		return err
	}
	_, err = c.resetTwoFactor(ctx, r, account.ID, func(by projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		return m.ResetTwoFactor(by.Member, false, m.OtherAdmins)
	})
	return err
}

// OperatorMakeAdmin makes an active member an admin.
func (c *Commands) OperatorMakeAdmin(ctx context.Context, w pg.Workspace, slug, email string) error {
	r, account, err := c.operate(ctx, w, slug, email)
	if err != nil {
		return err
	}
	_, err = c.changeMember(ctx, r, account.ID, domain.UpdateMember, nil, func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		if m.Status != domain.Active {
			return nil, domain.Refuse(domain.Conflict, "member_not_active", "the member is %s, not active", m.Status)
		}
		return m.ChangeRole(domain.Admin, m.OtherAdmins)
	})
	return err
}

// OperatorPlan puts a workspace on a plan, with an agreed retention; nil for the retention of the plan.
func (c *Commands) OperatorPlan(ctx context.Context, w pg.Workspace, plan string, retention *domain.Retention) (domain.Workspace, error) {
	return c.operateWorkspace(ctx, w, func(w domain.Workspace) ([]domain.Event, error) { return w.AgreePlan(plan, retention) })
}

// OperatorHold places a legal hold: everything of the workspace is kept, whatever its plan says.
func (c *Commands) OperatorHold(ctx context.Context, w pg.Workspace, reason string) error {
	_, err := c.operateWorkspace(ctx, w, func(w domain.Workspace) ([]domain.Event, error) { return w.PlaceHold(reason) })
	return err
}

// OperatorUnhold lifts the legal hold.
func (c *Commands) OperatorUnhold(ctx context.Context, w pg.Workspace) error {
	_, err := c.operateWorkspace(ctx, w, domain.Workspace.LiftHold)
	return err
}

func (c *Commands) operateWorkspace(ctx context.Context, w pg.Workspace, decide func(domain.Workspace) ([]domain.Event, error)) (domain.Workspace, error) {
	r, err := c.operator(ctx, w)
	if err != nil {
		return domain.Workspace{}, err
	}
	done, err := c.changeWorkspace(ctx, r, domain.UpdateWorkspace, decide)
	return done.State, err
}

// operate begins a command of the operator on the member with an address.
func (c *Commands) operate(ctx context.Context, w pg.Workspace, slug, email string) (Request, projections.Account, error) {
	_, hash, err := c.locate(ctx, newAccountName(slug, email))
	if err != nil {
		return Request{}, projections.Account{}, err
	}
	account, err := c.Projections.AccountByEmail(ctx, w, hash)
	if err != nil {
		return Request{}, projections.Account{}, err
	}
	if account == nil {
		return Request{}, projections.Account{}, domain.Missing("member")
	}
	r, err := c.operator(ctx, w)
	return r, *account, err
}

// operator makes a request of Kluis itself, which has no actor and may do everything.
func (c *Commands) operator(ctx context.Context, w pg.Workspace) (Request, error) {
	renew := func(ctx context.Context, _ projections.Actor) (*projections.Actor, error) {
		return c.Projections.Operator(ctx, w)
	}
	by, err := renew(ctx, projections.Actor{})
	if err != nil {
		return Request{}, err
	}
	return Request{By: *by, renew: renew}, nil
}
