package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/internal/totp"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// This file compares the passwords and codes of a member, counts the attempts, and changes what they are compared with.

// The fields of a second factor under a member's data key. Recovery codes are valid for years, so they are hashed with that key, which outlives a
// rotation of the keyring.
const (
	secretField   = "two_factor.secret" //nolint:gosec // the name of a field, no credential
	recoveryField = "two_factor.recovery_code"
)

// factor is a code that was compared and is right. One transaction uses it up.
type factor struct {
	member uuid.UUID
	secret string // the sealed secret of the second factor that the code belongs to
	step   int64  // the time step of a code from the device (RFC 6238)
	mac    []byte // of a recovery code; nil for a code from the device
}

// findFactor compares a code with the account's second factor. It gives nil when the code is wrong, or was used before. The caller has counted
// the attempt.
func (c *Commands) findFactor(ctx context.Context, w pg.Workspace, a projections.Account, code string) (*factor, error) {
	c.compared.Add(1)
	key, err := c.Vault.Key(ctx, w, a.ID)
	if err != nil {
		return nil, err
	}
	f := &factor{member: a.ID, secret: a.TwoFactor}
	typed := token.Typed(code)
	if token.IsRecoveryCode(typed) {
		return c.findRecovery(ctx, w, f, key.MAC(recoveryField, typed))
	}
	f.step, err = c.findStep(ctx, key, a.TwoFactor, typed, a.LastStep)
	if err != nil {
		return nil, fmt.Errorf("compare a code of member %s: %w", a.ID, err)
	}
	if f.step == 0 {
		return nil, nil
	}
	return f, nil
}

func (c *Commands) findStep(ctx context.Context, key vault.Key, sealed, typed string, after int64) (int64, error) {
	secret, err := key.Open(secretField, sealed)
	if err != nil {
		return 0, err
	}
	now, err := c.now(ctx)
	if err != nil {
		return 0, err
	}
	return totp.Find(secret, typed, now, after)
}

func (c *Commands) findRecovery(ctx context.Context, w pg.Workspace, f *factor, mac []byte) (*factor, error) {
	var found [][]byte
	err := c.DB.Read(ctx, w, pg.Column(&found, `select code from recovery_code where member_id = $1 and code = $2`, f.member, mac))
	if err != nil {
		return nil, fmt.Errorf("look up a recovery code of member %s: %w", f.member, err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	f.mac = found[0]
	return f, nil
}

// spend uses the code up. Of several callers who send the same code at once, one finds a row. The second factor must still be the one with which the
// code was compared. The transaction has locked the credential.
func (f *factor) spend(taken *[]uuid.UUID) pg.Statement {
	if f.mac != nil {
		return pg.Column(taken, `delete from recovery_code where member_id = $1 and code = $2 and exists (select from two_factor
			where member_id = $1 and secret = $3 and confirmed_at is not null) returning member_id`, f.member, f.mac, f.secret)
	}
	return pg.Column(taken, `update two_factor set last_step = $2
		where member_id = $1 and last_step < $2 and secret = $3 and confirmed_at is not null returning member_id`, f.member, f.step, f.secret)
}

// events puts the event of a used recovery code, if it was one, before the events of the purpose.
func (f *factor) events(then ...domain.Event) []domain.Event {
	if f == nil || f.mac == nil {
		return then
	}
	return append([]domain.Event{domain.MemberRecoveryCodeUsed{MemberID: f.member}}, then...)
}

// lockCredential is the first statement of every log-in, and of every change of a password, a second factor or a code. Of two such transactions the
// second sees what the first did. The lock must be a statement of its own, so that the next statement reads after it.
func lockCredential(member uuid.UUID) pg.Statement {
	return pg.Exec(`select from credential where member_id = $1 for update`, member)
}

// lockSession begins a change of the caller's own account. The session of the caller must still be there, and the password must be the one that
// was read. A command that ends sessions waits until the change is committed.
func (s self) lockSession(ctx context.Context, tx pgx.Tx) error {
	var alive, same []uuid.UUID
	err := run(ctx, tx,
		pg.Column(&alive, `select id from session where id = $1 and member_id = $2 and expires_at > now() for share`, s.session, s.ID),
		pg.Column(&same, `select member_id from credential where member_id = $1 and password = $2`, s.ID, s.Password))
	switch {
	case err != nil:
		return err
	case len(alive) == 0:
		return sessionEnded()
	case len(same) == 0:
		return domain.Refuse(domain.Conflict, "password_changed", "your password was changed at the same time")
	}
	return nil
}

// self is the account of an actor with a session.
type self struct {
	projections.Account
	in      pg.Workspace
	who     accountName
	session uuid.UUID
	from    Origin
}

// self reads the account of an actor with a session. It refuses an API token.
func (c *Commands) self(ctx context.Context, by projections.Actor, from Origin) (self, error) {
	if err := inSession(by); err != nil {
		return self{}, err
	}
	var alive bool // a session may end while a body is on its way
	if err := c.DB.Read(ctx, by.Workspace, projections.Alive(&alive, by)); err != nil {
		return self{}, err
	}
	if !alive {
		return self{}, sessionEnded()
	}
	account, err := c.Projections.AccountByID(ctx, by.Workspace, by.Member)
	if err != nil {
		return self{}, err
	}
	if account == nil || account.Status != domain.Active {
		return self{}, sessionEnded()
	}
	who, err := c.accountNameOf(ctx, by.Workspace, domain.Member{ID: account.ID, Email: account.Email, FullName: account.FullName})
	return self{Account: *account, in: by.Workspace, who: who, session: by.Session, from: from}, err
}

// note makes a note of events that members cause on their own accounts.
func (s self) note(events ...domain.Event) note {
	return note{in: s.in, member: s.ID, actor: s.ID, from: s.from, events: events}
}

// wrongGuess is the refusal of a wrong password or code.
type wrongGuess struct {
	error
	reason string // of the failed log-in that is recorded for it
}

func (w wrongGuess) Unwrap() error { return w.error }

// compareLimited runs compare, which compares a password or a code of the member. A wrongGuess counts as a failed log-in, because somebody who
// found an open session may guess here as well. The attempt is counted before compare runs, apart from the log-ins of people without a session.
//
// When the account has a second factor, a right password does not reset the counter. Otherwise somebody with the password could guess codes for
// ever, with a right password after every few.
func (c *Commands) compareLimited(ctx context.Context, me self, compare func() error) error {
	try, err := c.Limits.Try(ctx, me.who.counters(inSessions, loginLimits...))
	if err != nil {
		return tooMany(err)
	}
	err = compare()
	ctx = context.WithoutCancel(ctx)
	if wrong, is := errors.AsType[wrongGuess](err); is {
		lock, err := try.Failed(ctx)
		if err == nil {
			c.noteFailed(ctx, me.in, me.Account, me.from, lock, wrong.reason)
		}
		return errors.Join(wrong.error, err)
	}
	var anew []string
	if err == nil && me.TwoFactor == "" {
		anew = []string{limit.LoginAccount, limit.LoginRun}
	}
	return errors.Join(err, try.GiveBack(ctx, anew...))
}

// comparePassword compares the member's password, for compareLimited. pointer is the field of the password in the request.
func (c *Commands) comparePassword(ctx context.Context, me self, plain, pointer string) error {
	right, _, err := c.verify(ctx, me.from, &me.Account, plain)
	if err == nil && !right {
		return wrongGuess{domain.InvalidField(pointer, "is not your password"), ""}
	}
	return err
}

// compareCode compares a code with the member's second factor, for compareLimited.
func (c *Commands) compareCode(ctx context.Context, me self, code string) (*factor, error) {
	shown, err := c.tryFactor(ctx, me.who, func() (*factor, error) { return c.findFactor(ctx, me.in, me.Account, code) })
	if err == nil && shown == nil {
		err = wrongGuess{usedCode(), domain.CodeWrong}
	}
	return shown, err
}

// usedCode refuses a code of a member who is known.
func usedCode() error {
	return domain.Refuse(domain.Invalid, "bad_code", "the code is wrong, or was used before: each code is valid once, and a code from a device for a minute and a half")
}

// changeCredential changes a password or a second factor, records the change, and queues the mail about it, in one transaction. The zero message
// queues no mail. claim begins the transaction in the role of the workspace. after ends it in the role of the login.
func (c *Commands) changeCredential(ctx context.Context, n note, message mail.Message, claim, after func(pgx.Tx) error, statements ...pg.Statement) error {
	record, err := c.noteAppend(ctx, n)
	if err != nil {
		return err
	}
	c.notes.wait(n.member, notePatience)
	var receipt eventstore.Receipt
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		err := pg.AsWorkspace(ctx, tx, n.in, func() (err error) {
			if err := run(ctx, tx, lockCredential(n.member)); err != nil {
				return fmt.Errorf("lock the credential of member %s: %w", n.member, err)
			}
			if err := claim(tx); err != nil {
				return err
			}
			if err := run(ctx, tx, statements...); err != nil {
				return fmt.Errorf("change the credential of member %s: %w", n.member, err)
			}
			if len(record.Writes) == 0 {
				return nil
			}
			if receipt, err = c.Store.AppendIn(ctx, in(tx), n.in, record); err != nil {
				return fmt.Errorf("record the change of the credential of member %s: %w", n.member, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := after(tx); err != nil || message.Template == "" {
			return err
		}
		return c.enqueue(ctx, tx, message)
	})
	if err == nil {
		c.Store.Appended(n.in, receipt)
	}
	return err
}
