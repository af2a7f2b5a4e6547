package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Forgotten is a request for a code to choose a new password.
type Forgotten struct {
	Workspace, Email string
	Device           string // the device token from the answer to an earlier log-in; empty for none
	From             Origin
}

// ForgotPassword mails a code to the member with an address: for a new password to an active member, for the invitation to an invited one. The answer
// does not tell whether there is such a member, because the mail is made after the answer. A request over the limit of the network is refused. A request
// over the limit of the account sends no mail, and gets the same answer.
//
// The codes of an account are counted, and kept, for each circle, so the requests of strangers use up no code of the owner.
func (c *Commands) ForgotPassword(ctx context.Context, f Forgotten) error {
	who := newAccountName(f.Workspace, f.Email)
	circles, err := c.Limits.Circles(ctx, who.subject(), f.From.IP, f.Device)
	if err != nil {
		return err
	}
	circle := circles[0]
	if !limit.IsDevice(circle) {
		if err := c.Limits.Take(ctx, limit.Network(limit.ForgotIP, f.From.IP)...); err != nil {
			return tooMany(err)
		}
	}
	err = c.Limits.Take(ctx, who.counters(circle, forgotLimits...)...)
	if _, exceeded := errors.AsType[*limit.ExceededError](err); exceeded {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.mails.do(ctx, func(ctx context.Context) {
		err := c.sendResetCode(ctx, who, circle)
		if outage, _ := pg.OutageOf(err); outage == pg.Closed || errors.Is(err, vault.ErrErased) { // the workspace is closed, or the member was erased meanwhile: no mail goes out
			return
		}
		if err != nil {
			c.Log.ErrorContext(ctx, "a code for a new password was not sent", "error", err.Error())
		}
	}) {
		busy := domain.Refuse(domain.Unavailable, "busy", "too many people ask for a code at this moment: try again in a few seconds")
		busy.RetryAfter = 2 * time.Second
		return busy
	}
	return nil
}

// sendResetCode stores a code for an address, in the place of an earlier one. An active member gets the code by a mail of the same transaction. An
// invited member gets another code for the invitation. Any other address has a code too, which nobody knows: see tryResetCode.
func (c *Commands) sendResetCode(ctx context.Context, who accountName, circle string) error {
	w, hash, err := c.locate(ctx, who)
	if err != nil || hash == "" {
		return err
	}
	account, err := c.Projections.AccountByEmail(ctx, w, hash)
	if err != nil {
		return err
	}
	code := token.NewCode()
	active := account != nil && account.Status == domain.Active
	var message mail.Message
	if active {
		minutes := strconv.Itoa(int(c.ResetCodeLife.Minutes()))
		message, err = c.mailTo(ctx, w, *account, "reset_code", map[string]string{"Code": code, "Minutes": minutes})
		if err != nil {
			return err
		}
	}
	return c.DB.Control(ctx, func(tx pgx.Tx) error {
		err := pg.AsWorkspace(ctx, tx, w, func() error {
			return run(ctx, tx,
				pg.Exec(`delete from password_reset where (email_hash, circle) in (select email_hash, circle from password_reset
				where expires_at < now() limit 100 for update skip locked)`),
				pg.Exec(`insert into password_reset (email_hash, circle, code, expires_at) values ($1, $2, $3, now() + make_interval(secs => $4))
				on conflict (email_hash, circle) do update set code = excluded.code, attempts = 0, strangers = 0, expires_at = excluded.expires_at`,
					hash, c.Keys.MAC(resetPurpose(w, hash)+"/circle", []byte(circle)), c.Keys.MAC(resetPurpose(w, hash), []byte(code)), c.ResetCodeLife.Seconds()))
		})
		if err != nil {
			return fmt.Errorf("store the code: %w", err)
		}
		switch {
		case active:
			return c.enqueue(ctx, tx, message)
		case account != nil && account.Status == domain.Invited:
			return c.sendInvitation(ctx, tx, w, domain.MemberInvited{MemberID: account.ID, Email: account.Email, FullName: account.FullName, Language: account.Language}, true)
		}
		return nil
	})
}

// NewPassword is a request to set a new password with a code.
type NewPassword struct {
	Workspace, Email, Code, Password string
	Device                           string // the device token from the answer to an earlier log-in; empty for none
	From                             Origin
}

// ResetPassword gives the member with an address a new password, for the code that was mailed there. It ends all sessions and API tokens of the member,
// and the lock of the account.
//
// One transaction does all of that, and deletes the code first: of any number of requests with the right code, one succeeds.
func (c *Commands) ResetPassword(ctx context.Context, n NewPassword) error {
	who := newAccountName(n.Workspace, n.Email)
	if err := checkPassword(n.Password, who.slug, "", who.email); err != nil {
		return err
	}
	return c.tryMailed(ctx, who, n.From, "reset-password", func() error { return c.resetPassword(ctx, who, n) })
}

func (c *Commands) resetPassword(ctx context.Context, who accountName, wanted NewPassword) error {
	w, hash, err := c.locate(ctx, who)
	if err != nil {
		return err
	}
	stored, err := c.tryResetCode(ctx, w, hash, who, wanted)
	if err != nil {
		return err
	}
	account, err := c.Projections.AccountByEmail(ctx, w, hash)
	if err != nil {
		return err
	}
	if account == nil || account.Status != domain.Active {
		return badCode()
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return err
	}
	if err := checkPassword(wanted.Password, who.slug, ws.Name, who.email); err != nil {
		return err
	}
	phc, err := c.hash(ctx, wanted.From, wanted.Password)
	if err != nil {
		return err
	}
	locked, err := c.Limits.Full(ctx, who.counters("", loginLimits...)...)
	if err != nil {
		return err
	}
	events := []domain.Event{domain.MemberPasswordReset{MemberID: account.ID}}
	if locked {
		events = append(events, domain.MemberUnlocked{MemberID: account.ID})
	}
	n := note{in: w, member: account.ID, actor: account.ID, from: wanted.From, events: events}
	return c.replacePassword(ctx, n, *account, phc, uuid.Nil, func(tx pgx.Tx) error {
		var taken [][]byte
		err := run(ctx, tx, pg.Column(&taken, `delete from password_reset where email_hash = $1 returning code`, hash))
		if err == nil && !slices.ContainsFunc(taken, func(code []byte) bool { return bytes.Equal(code, stored) }) {
			return badCode()
		}
		return err
	}, func(tx pgx.Tx) error {
		return c.Limits.Clear(ctx, tx, time.Time{}, who.counters("", loginLimits...)...)
	})
}

// tryResetCode counts the attempt, and commits it, before it compares the code with the stored ones. It gives the stored form of the right one. An
// address that nobody has gets a row too when somebody asks for a code, so that a wrong code takes the same time. Strangers have attempts of their own at
// each code, so they cannot use up those of the owner.
func (c *Commands) tryResetCode(ctx context.Context, w pg.Workspace, hash string, who accountName, n NewPassword) ([]byte, error) {
	if hash == "" {
		return nil, badCode()
	}
	circles, err := c.Limits.Circles(ctx, who.subject(), n.From.IP, n.Device)
	if err != nil {
		return nil, err
	}
	var stored [][]byte
	err = c.DB.Do(ctx, w, pg.Column(&stored, `update password_reset
		set attempts = attempts + case when $3 then 0 else 1 end, strangers = strangers + case when $3 then 1 else 0 end
		where email_hash = $1 and case when $3 then strangers else attempts end < $2 and expires_at > now() returning code`,
		hash, codeAttempts, circles[0] == ""))
	if err != nil {
		return nil, fmt.Errorf("count attempt: %w", err)
	}
	if len(stored) == 0 {
		return nil, badCode()
	}
	c.compared.Add(1)
	try, err := c.Limits.Try(ctx, who.counters(circles[0], limit.CodeRun))
	if err != nil {
		return nil, tooMany(err)
	}
	for _, code := range stored {
		if c.Keys.CheckMAC(resetPurpose(w, hash), []byte(n.Code), code) {
			return code, try.GiveBack(context.WithoutCancel(ctx), limit.CodeRun)
		}
	}
	_, err = try.Failed(context.WithoutCancel(ctx))
	return nil, errors.Join(badCode(), err)
}

// ChangePassword replaces the actor's password, for the current one, which the new one must not be. It ends the actor's other sessions, and all API
// tokens. A wrong current password counts as a failed log-in: see compareLimited.
func (c *Commands) ChangePassword(ctx context.Context, by projections.Actor, from Origin, current, plain string) error {
	me, err := c.self(ctx, by, from)
	if err != nil {
		return err
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, me.in)
	if err != nil {
		return err
	}
	if err := checkPassword(plain, ws.Slug, ws.Name, me.who.email); err != nil {
		return err
	}
	if err := c.compareLimited(ctx, me, func() error { return c.comparePassword(ctx, me, current, "/current") }); err != nil {
		return err
	}
	if password.Same(current, plain) {
		return domain.InvalidField("/password", "is your password already: choose another one")
	}
	phc, err := c.hash(ctx, from, plain)
	if err != nil {
		return err
	}
	return c.replacePassword(ctx, me.note(domain.MemberPasswordChanged{MemberID: me.ID}), me.Account, phc, by.Session,
		func(tx pgx.Tx) error { return me.lockSession(ctx, tx) }, noStep)
}

// replacePassword stores a new password, ends all API tokens of the member and all sessions but keep, forgets a second
// factor that was only proposed (by whoever had a session), and asks for the mail that says so: see changeCredential.
func (c *Commands) replacePassword(ctx context.Context, n note, a projections.Account, phc string, keep uuid.UUID, claim, after func(pgx.Tx) error) error {
	message, err := c.mailTo(ctx, n.in, a, "password_changed", nil)
	if err != nil {
		return err
	}
	return c.changeCredential(ctx, n, message, claim, after, setPassword(a.ID, phc), endSessions(a.ID, keep), endTokens(a.ID), dropProposed(a.ID))
}

func setPassword(member uuid.UUID, phc string) pg.Statement {
	return pg.Exec(`insert into credential (member_id, password) values ($1, $2)
		on conflict (member_id) do update set password = excluded.password, updated_at = now()`, member, phc)
}

// endSessions ends all sessions of a member but keep; uuid.Nil keeps none.
func endSessions(member, keep uuid.UUID) pg.Statement {
	return pg.Exec(`delete from session where member_id = $1 and id <> $2`, member, keep)
}

// in lets the event store run statements in a transaction.
func in(tx pgx.Tx) eventstore.Run {
	return func(ctx context.Context, statements ...pg.Statement) error { return run(ctx, tx, statements...) }
}

func run(ctx context.Context, tx pgx.Tx, statements ...pg.Statement) error {
	batch := &pgx.Batch{}
	for _, s := range statements {
		s.Queue(batch)
	}
	return tx.SendBatch(ctx, batch).Close()
}

func resetPurpose(w pg.Workspace, hash string) string {
	return "kluis/password-reset/" + w.ID.String() + "/" + hash
}
