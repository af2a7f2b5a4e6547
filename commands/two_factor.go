package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/internal/totp"
	"github.com/kluis-eu/kluis/projections"
)

// Proposal is a secret for the member's device. The member sees it once.
type Proposal struct {
	Secret string // base32
	URL    string // otpauth://, for a QR code
}

// BeginTwoFactor proposes a secret to the actor, in place of an earlier proposal. The secret has no effect until ConfirmTwoFactor gets a code made with
// it, so after a lost answer the caller begins again.
func (c *Commands) BeginTwoFactor(ctx context.Context, by projections.Actor, from Origin, plain string) (Proposal, error) {
	me, err := c.self(ctx, by, from)
	if err != nil {
		return Proposal{}, err
	}
	if err := me.twoFactor(by).Begin(); err != nil {
		return Proposal{}, err
	}
	if err := c.compareLimited(ctx, me, func() error { return c.comparePassword(ctx, me, plain, "/password") }); err != nil {
		return Proposal{}, err
	}
	var p Proposal
	if p.Secret, p.URL, err = totp.New("Kluis", me.who.email+" ("+me.who.slug+")"); err != nil {
		return Proposal{}, err
	}
	key, err := c.Vault.Key(ctx, me.in, me.ID)
	if err != nil {
		return Proposal{}, err
	}
	sealed, err := key.Seal(secretField, p.Secret)
	if err != nil {
		return Proposal{}, err
	}
	var stored []uuid.UUID
	err = c.DB.Do(ctx, me.in, pg.Column(&stored, `insert into two_factor (member_id, secret) select member_id, $2 from session where id = $3 and member_id = $1
		on conflict (member_id) do update set secret = excluded.secret where two_factor.confirmed_at is null returning member_id`, me.ID, sealed, me.session))
	if err != nil {
		return Proposal{}, fmt.Errorf("store the secret of member %s: %w", me.ID, err)
	}
	if len(stored) == 0 { // confirmed meanwhile
		return Proposal{}, domain.TwoFactor{Enabled: true}.Begin()
	}
	return p, nil
}

// twoFactor is the state of the account's second factor as self read it, which may be newer than that in the actor.
func (s self) twoFactor(by projections.Actor) domain.TwoFactor {
	return domain.TwoFactor{Enabled: s.TwoFactor != "", Required: by.TwoFactor.Required}
}

// ConfirmTwoFactor turns the second factor on, for a code from the device that has the proposed secret, and gives the recovery codes. It ends the member's
// other sessions, which were opened without a code. API tokens stay, because programs have no device.
func (c *Commands) ConfirmTwoFactor(ctx context.Context, by projections.Actor, from Origin, code string) ([]string, error) {
	me, err := c.self(ctx, by, from)
	if err != nil {
		return nil, err
	}
	var proposed, on []string
	if err := c.DB.Read(ctx, me.in, projections.LoadProposed(&proposed, me.ID), projections.LoadTwoFactor(&on, me.ID)); err != nil {
		return nil, fmt.Errorf("read the secret of member %s: %w", me.ID, err)
	}
	if err := (domain.TwoFactor{Enabled: len(on) > 0}).Begin(); err != nil {
		return nil, err
	}
	if len(proposed) == 0 {
		return nil, domain.Refuse(domain.Conflict, "two_factor_not_begun", "there is no proposed secret: ask for one first, by POST /api/me/two-factor")
	}
	var step int64
	if err := c.compareLimited(ctx, me, func() (err error) { step, err = c.compareProposedCode(ctx, me, proposed[0], code); return err }); err != nil {
		return nil, err
	}
	codes, renew, err := c.newRecoveryCodes(ctx, me)
	if err != nil {
		return nil, err
	}
	message, err := c.mailTo(ctx, me.in, me.Account, "two_factor_changed", map[string]string{"Change": "on"})
	if err != nil {
		return nil, err
	}
	claim := me.claims(ctx, func(taken *[]uuid.UUID) pg.Statement {
		return pg.Column(taken, `update two_factor set confirmed_at = now(), last_step = $3
			where member_id = $1 and secret = $2 and confirmed_at is null returning member_id`, me.ID, proposed[0], step)
	})
	n := me.note()
	n.roster, n.decided = []domain.Event{domain.MemberTwoFactorEnabled{MemberID: me.ID}}, eventstore.Any
	if err := c.changeCredential(ctx, n, message, claim, noStep, append(renew, endSessions(me.ID, by.Session))...); err != nil {
		return nil, err
	}
	return codes, nil
}

// compareProposedCode compares a code with a proposed secret, for compareLimited, and gives the time step of the code.
func (c *Commands) compareProposedCode(ctx context.Context, me self, sealed, code string) (int64, error) {
	c.compared.Add(1)
	key, err := c.Vault.Key(ctx, me.in, me.ID)
	if err != nil {
		return 0, err
	}
	step, err := c.findStep(ctx, key, sealed, token.Typed(code), 0)
	if err == nil && step == 0 {
		err = wrongGuess{usedCode(), domain.CodeWrong}
	}
	return step, err
}

// claims begins a change of the caller's own account, while session and password are still the same. Of several callers who want the same change at
// once, the statement of claim finds a row for one.
func (s self) claims(ctx context.Context, claim func(claimed *[]uuid.UUID) pg.Statement) func(pgx.Tx) error {
	return func(tx pgx.Tx) error {
		if err := s.lockSession(ctx, tx); err != nil {
			return err
		}
		var claimed []uuid.UUID
		err := run(ctx, tx, claim(&claimed))
		if err == nil && len(claimed) == 0 {
			err = usedCode()
		}
		return err
	}
}

func noStep(pgx.Tx) error { return nil }

// recoveryCodes is how many recovery codes a member gets.
const recoveryCodes = 10

// newRecoveryCodes makes recovery codes, and the statements that replace the present codes by them.
func (c *Commands) newRecoveryCodes(ctx context.Context, me self) (codes []string, renew []pg.Statement, err error) {
	key, err := c.Vault.Key(ctx, me.in, me.ID)
	if err != nil {
		return nil, nil, err
	}
	macs := make([][]byte, recoveryCodes)
	for i := range macs {
		code := token.NewRecoveryCode()
		codes, macs[i] = append(codes, code), key.MAC(recoveryField, token.Typed(code))
	}
	return codes, []pg.Statement{dropRecoveryCodes(me.ID),
		pg.Exec(`insert into recovery_code (member_id, code) select $1, unnest($2::bytea[])`, me.ID, macs)}, nil
}

func dropRecoveryCodes(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from recovery_code where member_id = $1`, member)
}

// RenewRecoveryCodes gives the actor ten new recovery codes, for a code of the second factor. The former ones end. After a lost answer nobody knows the new
// ones, and the caller renews them again, with the next code from the device.
func (c *Commands) RenewRecoveryCodes(ctx context.Context, by projections.Actor, from Origin, code string) ([]string, error) {
	me, err := c.self(ctx, by, from)
	if err != nil {
		return nil, err
	}
	if err := me.twoFactor(by).Use(); err != nil {
		return nil, err
	}
	var shown *factor
	if err := c.compareLimited(ctx, me, func() (err error) { shown, err = c.compareCode(ctx, me, code); return err }); err != nil {
		return nil, err
	}
	codes, renew, err := c.newRecoveryCodes(ctx, me)
	if err != nil {
		return nil, err
	}
	n := me.note(shown.events(domain.MemberRecoveryCodesRenewed{MemberID: me.ID})...)
	if err := c.changeCredential(ctx, n, mail.Message{}, me.claims(ctx, shown.spend), noStep, renew...); err != nil {
		return nil, err
	}
	return codes, nil
}

// DisableTwoFactor turns the second factor off, for the password and a code, unless the policy requires one of the actor's role. When the roster has moved
// meanwhile, that is decided again.
func (c *Commands) DisableTwoFactor(ctx context.Context, by projections.Actor, from Origin, plain, code string) error {
	me, err := c.self(ctx, by, from)
	if err != nil {
		return err
	}
	if err := me.twoFactor(by).Disable(); err != nil {
		return err
	}
	var shown *factor
	err = c.compareLimited(ctx, me, func() (err error) {
		if err := c.comparePassword(ctx, me, plain, "/password"); err != nil {
			return err
		}
		shown, err = c.compareCode(ctx, me, code)
		return err
	})
	if err != nil {
		return err
	}
	message, err := c.mailTo(ctx, me.in, me.Account, "two_factor_changed", map[string]string{"Change": "off"})
	if err != nil {
		return err
	}
	n := me.note(shown.events()...)
	n.roster = []domain.Event{domain.MemberTwoFactorDisabled{MemberID: me.ID}}
	for range maxAttempts {
		n.decided = by.Roster
		err = c.changeCredential(ctx, n, message, me.claims(ctx, shown.spend), noStep, dropTwoFactor(me.ID), dropRecoveryCodes(me.ID))
		if _, moved := errors.AsType[*eventstore.MovedError](err); !moved {
			return err
		}
		if by, err = c.catchUp(ctx, Request{}, by); err != nil {
			return err
		}
		if err := me.twoFactor(by).Disable(); err != nil {
			return err
		}
	}
	return contended()
}

// dropProposed deletes a secret that no code has confirmed.
func dropProposed(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from two_factor where member_id = $1 and confirmed_at is null`, member)
}

func dropTwoFactor(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from two_factor where member_id = $1`, member)
}

// ResetTwoFactor turns off the second factor of another member, who has lost the device. It ends that member's sessions and API tokens, because the finder of
// the device may have those too. A repeated request with the same key changes nothing that was turned on since.
//
// The mail to the member is queued after the change. When the process is killed in between, there is no mail, and the log has the event.
func (c *Commands) ResetTwoFactor(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.resetTwoFactor(ctx, r, id, func(by projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		if err := inSession(by); err != nil {
			return nil, err
		}
		return m.ResetTwoFactor(by.Member, m.RequiresTwoFactor(), m.OtherAdmins)
	})
}

func (c *Commands) resetTwoFactor(ctx context.Context, r Request, id uuid.UUID, decide func(projections.Actor, projections.MemberRow) ([]domain.Event, error)) (Result[domain.Member], error) {
	w, decided := r.By.Workspace, false
	drop := []pg.Statement{lockCredential(id), dropTwoFactor(id), dropRecoveryCodes(id), endSessions(id, uuid.Nil), endTokens(id)}
	reset, err := c.changeMember(ctx, r, id, domain.UpdateMember, drop, func(by projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		events, err := decide(by, m)
		decided = len(events) > 0
		return events, err
	})
	if err != nil || !decided {
		return reset, err
	}
	if err := c.tellOfReset(ctx, w, id); err != nil {
		c.Log.WarnContext(ctx, "a mail about a second factor was not sent", "workspace", w.ID, "member", id, "error", err.Error())
	}
	return reset, nil
}

func (c *Commands) tellOfReset(ctx context.Context, w pg.Workspace, member uuid.UUID) error {
	account, err := c.Projections.AccountByID(ctx, w, member)
	if err != nil || account == nil || account.Status != domain.Active {
		return err
	}
	message, err := c.mailTo(ctx, w, *account, "two_factor_changed", map[string]string{"Change": "reset"})
	if err != nil {
		return err
	}
	return c.DB.Control(ctx, func(tx pgx.Tx) error { return c.enqueue(ctx, tx, message) })
}
