package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

const invitationLife = 7 * 24 * time.Hour

// SendInvitation makes the code of an invited member, and mails it. It runs in the transaction of the reaction to member.invited, which is the
// login's, so each event sends one mail.
func (c *Commands) SendInvitation(ctx context.Context, tx pgx.Tx, w pg.Workspace, m domain.MemberInvited) error {
	return c.sendInvitation(ctx, tx, w, m, false)
}

// sendInvitation replaces the code of an invitation, and mails the new one. With within the invitation ends when it would have ended before, and an
// invitation that has ended gets no code, because anybody who knows slug and address may ask for this.
func (c *Commands) sendInvitation(ctx context.Context, tx pgx.Tx, w pg.Workspace, m domain.MemberInvited, within bool) error {
	key, err := c.Vault.Key(ctx, w, m.MemberID)
	if err != nil {
		return err
	}
	address, err := key.Open(emailField, string(m.Email))
	if err != nil {
		return fmt.Errorf("open the address of member %s: %w", m.MemberID, err)
	}
	name, err := key.Open(nameField, string(m.FullName))
	if err != nil {
		return fmt.Errorf("open the name of member %s: %w", m.MemberID, err)
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return err
	}
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return err
	}
	code := token.NewCode()
	stored := false
	err = pg.AsWorkspace(ctx, tx, w, func() error {
		tag, err := tx.Exec(ctx, `insert into invitation (member_id, code, expires_at) values ($1, $2, now() + make_interval(secs => $3))
			on conflict (member_id) do update set code = excluded.code, attempts = 0,
				expires_at = case when $4 then invitation.expires_at else excluded.expires_at end
			where not $4 or invitation.expires_at > now()`,
			m.MemberID, own.MAC(invitationField(m.MemberID), code), invitationLife.Seconds(), within)
		stored = tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return fmt.Errorf("store the invitation of member %s: %w", m.MemberID, err)
	}
	if !stored {
		return nil
	}
	return c.Outbox.Enqueue(ctx, tx, mail.Message{Of: mail.Recipient{Workspace: w.ID, Member: m.MemberID}, Template: "invitation_code", To: address, Language: m.Language,
		Values: map[string]string{"Name": name, "Workspace": ws.Name, "Slug": ws.Slug, "Code": code, "URL": c.PublicURL}})
}

// SendInvitationAgain sends another code to a member who has not joined yet.
func (c *Commands) SendInvitationAgain(ctx context.Context, tx pgx.Tx, w pg.Workspace, member uuid.UUID) error {
	a, err := c.Projections.AccountByID(ctx, w, member)
	if err != nil || a == nil || a.Status != domain.Invited {
		return err
	}
	return c.SendInvitation(ctx, tx, w, domain.MemberInvited{MemberID: a.ID, Email: a.Email, FullName: a.FullName, Language: a.Language})
}

// AcceptInvitation makes an invited member active, with a password that the member chooses, and opens a session.
//
//  1. The attempt is counted, and the code is compared.
//  2. The password is stored, with a claim on the invitation. Of several requests with the right code one gets the claim, and its password is
//     stored. A password opens nothing while the member is not active.
//  3. The append makes the member active. From then on the password works, whatever becomes of the answer.
//  4. The session is stored, and the invitation is deleted.
func (c *Commands) AcceptInvitation(ctx context.Context, from Origin, slug, email, code, plain string) (in Admitted, err error) {
	if err := checkPassword(plain, slug, "", email); err != nil {
		return Admitted{}, err
	}
	who := newAccountName(slug, email)
	err = c.tryMailed(ctx, who, from, "accept-invitation", func() error {
		in, err = c.acceptInvitation(ctx, from, who, code, plain)
		return err
	})
	return in, err
}

func (c *Commands) acceptInvitation(ctx context.Context, from Origin, who accountName, code, plain string) (Admitted, error) {
	w, hash, err := c.locate(ctx, who)
	if err != nil {
		return Admitted{}, err
	}
	member, stored, err := c.invited(ctx, w, hash, code)
	if err != nil {
		return Admitted{}, err
	}
	var joined Result[domain.Member]
	phc, err := c.hash(ctx, from, plain)
	if err == nil {
		err = c.claimInvitation(ctx, w, member, stored, phc)
	}
	if err == nil {
		joined, err = c.join(ctx, w, member, from)
	}
	if err != nil {
		return Admitted{}, errors.Join(err, c.unclaimInvitation(ctx, w, member, stored, phc))
	}
	session := makeSession(w, member)
	err = c.DB.Do(ctx, w, session.insert(), pg.Exec(`delete from invitation where member_id = $1`, member))
	if err != nil {
		return Admitted{}, fmt.Errorf("store session: %w", err)
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return Admitted{}, err
	}
	return c.admit(ctx, w, ws, joined.State, who, from, session)
}

// invited finds the invited member with a code, and gives the stored form of the code. The attempt is counted, and committed, before the code is
// compared. An address that nobody has gets the same answer, in the same time, because the count does not wait for the disk.
func (c *Commands) invited(ctx context.Context, w pg.Workspace, hash, code string) (uuid.UUID, []byte, error) {
	if hash == "" {
		return uuid.Nil, nil, badCode()
	}
	account, err := c.Projections.AccountByEmail(ctx, w, hash)
	if err != nil {
		return uuid.Nil, nil, err
	}
	var member uuid.UUID
	if account != nil && account.Status == domain.Invited {
		member = account.ID
	}
	var stored [][]byte
	err = c.DB.Do(ctx, w, pg.Exec(`set local synchronous_commit = off`),
		pg.Column(&stored, `update invitation set attempts = attempts + 1
			where member_id = $1 and attempts < $2 and expires_at > now() returning code`, member, codeAttempts))
	if err != nil {
		return uuid.Nil, nil, fmt.Errorf("count attempt: %w", err)
	}
	if len(stored) == 0 {
		return uuid.Nil, nil, badCode()
	}
	c.compared.Add(1)
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return uuid.Nil, nil, err
	}
	if !own.CheckMAC(invitationField(member), code, stored[0]) {
		return uuid.Nil, nil, badCode()
	}
	return member, stored[0], nil
}

// claimFor is how long the claim of a request that was broken off holds. unclaimIn limits how long a request takes to give its claim back.
const (
	claimFor  = time.Minute
	unclaimIn = 5 * time.Second
)

// claimInvitation stores the password of the request that may accept now. Another request with the right code is told to ask again: the
// first one may be under way, or its process was killed.
func (c *Commands) claimInvitation(ctx context.Context, w pg.Workspace, member uuid.UUID, stored []byte, phc string) error {
	var claimed []uuid.UUID
	err := c.DB.Do(ctx, w, pg.Column(&claimed, `with claim as (update invitation set claimed_until = now() + make_interval(secs => $4)
			where member_id = $1 and code = $2 and coalesce(claimed_until <= now(), true) returning member_id)
		insert into credential (member_id, password) select member_id, $3::text from claim
		on conflict (member_id) do update set password = excluded.password, updated_at = now() returning member_id`,
		member, stored, phc, claimFor.Seconds()))
	if err != nil {
		return fmt.Errorf("store credential: %w", err)
	}
	if len(claimed) == 0 {
		refusal := domain.Refuse(domain.TooMany, "attempts_under_way", "another request is accepting this invitation: ask again in a few seconds")
		refusal.RetryAfter = 5 * time.Second
		return refusal
	}
	return nil
}

// unclaimInvitation gives back the attempt and the claim of a request with the right code that failed, so that the same request may be sent again. The
// claim may be stored although its answer was lost. Its password, which was stored with it, tells whose claim it is.
func (c *Commands) unclaimInvitation(ctx context.Context, w pg.Workspace, member uuid.UUID, stored []byte, phc string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unclaimIn)
	defer cancel()
	return c.DB.Do(ctx, w, pg.Exec(`update invitation set attempts = greatest(attempts - 1, 0),
			claimed_until = case when exists (select from credential where member_id = $1 and password = $3) then null else claimed_until end
		where member_id = $1 and code = $2`, member, stored, phc))
}

// join makes an invited member active.
func (c *Commands) join(ctx context.Context, w pg.Workspace, member uuid.UUID, from Origin) (Result[domain.Member], error) {
	renew := func(ctx context.Context, _ projections.Actor) (*projections.Actor, error) {
		return c.Projections.Newcomer(ctx, w, member)
	}
	by, err := renew(ctx, projections.Actor{})
	if err != nil {
		return Result[domain.Member]{}, err
	}
	r := Request{By: *by, Origin: from, renew: renew}
	var before domain.Member
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.MemberRow
		if err := a.read(ctx, projections.LoadMember(&rows, a.by, member)); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 {
			return plan{}, badCode()
		}
		before = rows[0].Member
		events, err := before.Join()
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// invitationField is the field under which the code of an invitation is hashed, with the workspace's data key. The code is valid for days, so its hash
// must outlive a rotation of the keyring.
func invitationField(member uuid.UUID) string { return "invitation.code/" + member.String() }
