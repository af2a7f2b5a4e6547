package commands

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// The fields under which a member's personal data is sealed. They are inside every sealed value.
const (
	emailField = "member.email"
	nameField  = "member.full_name"
)

// Invitation is whom a member invites.
type Invitation struct {
	Email, FullName string
	Role            string
	Language        string // empty: that of who invites
	PlaceholderID   *uuid.UUID
}

func (i Invitation) check() (normal string, err error) {
	if normal, err = checkPerson("", i.Email, i.FullName); err != nil {
		return "", err
	}
	if i.Language != "" {
		err = domain.CheckLanguage("/language", i.Language)
	}
	return normal, err
}

// InviteMember invites a person by e-mail, or once more to the same role when the code is used up or a minute old. The mail
// with the code is a reaction to the event: see jobs. Each is counted, since strangers get the mails.
func (c *Commands) InviteMember(ctx context.Context, r Request, wanted Invitation) (Result[domain.Member], error) {
	normal, err := wanted.check()
	if err != nil {
		return Result[domain.Member]{}, err
	}
	w := r.By.Workspace
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return Result[domain.Member]{}, err
	}
	id, key, also, err := c.place(ctx, w, wanted.PlaceholderID)
	if err != nil {
		return Result[domain.Member]{}, err
	}
	invited := domain.MemberInvited{MemberID: id}
	if invited.Email, invited.FullName, err = sealPerson(key, wanted.Email, wanted.FullName); err != nil {
		return Result[domain.Member]{}, err
	}
	hash := own.Hash(emailField, normal)
	var before domain.Member
	var try *limit.Try
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var same []domain.Member
		var inviter, placed []projections.MemberRow
		var old []uuid.UUID
		var roles []domain.OwnRole
		if err := a.read(ctx, projections.LoadMember(&placed, a.by, id), projections.MembersByEmail(&same, hash), oldInvitations(&old, hash), projections.LoadMember(&inviter, a.by, a.by.Member),
			projections.FindRole(&roles, wanted.Role)); err != nil {
			return plan{}, err
		}
		if invited.Role, err = mayInvite(a.by, wanted, roles, placed); err != nil {
			return plan{}, err
		}
		again, err := c.invitedBefore(ctx, w, same, old, wanted.Email, invited.Role)
		if err != nil {
			return plan{}, err
		}
		if len(same) > 0 && !again {
			return plan{}, domain.Refuse(domain.Conflict, "email_taken", "there is a member with this e-mail address")
		}
		if try == nil {
			if try, err = c.tryInvite(ctx, a.by, normal); err != nil {
				return plan{}, err
			}
		}
		if again {
			before = same[0]
			return plan{stream: domain.RosterStream, version: a.by.Roster, events: []domain.Event{domain.MemberInvitedAgain{MemberID: before.ID}}}, nil
		}
		before = domain.Member{}
		invited.Language = wanted.Language
		if invited.Language == "" && len(inviter) > 0 {
			invited.Language = inviter[0].Language
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: []domain.Event{invited},
			also: append(also, setAddress(id, hash))}, nil
	})
	if err := settleInvite(context.WithoutCancel(ctx), try, err); err != nil {
		return Result[domain.Member]{}, err
	}
	return result(ctx, c, r, projections.Members.Model, before, done, nil)
}

// mayInvite gives the id of the role that the person is to have. It refuses an inviter who may not invite, or lacks what the role grants, and a
// placeholder that is none; role and placeholder were looked up.
func mayInvite(by projections.Actor, wanted Invitation, roles []domain.OwnRole, placed []projections.MemberRow) (role string, err error) {
	if err := allowOn(by, domain.CreateMember, domain.Reach{}); err != nil {
		return "", err
	}
	if role, err = mayGive(by, wanted.Role, roles); err != nil {
		return "", err
	}
	if wanted.PlaceholderID != nil && (len(placed) == 0 || placed[0].Status != domain.Placeholder) {
		return "", domain.InvalidField("/placeholder_id", "there is no such placeholder")
	}
	return role, nil
}

// oldInvitations finds the member with an address whose invitation may be sent again.
func oldInvitations(into *[]uuid.UUID, hash string) pg.Statement {
	return pg.Column(into, `select member_id from invitation join member_email using (member_id)
		where hash = $1 and (attempts >= $2 or expires_at < now() + make_interval(secs => $3))`, hash, codeAttempts, (invitationLife - time.Minute).Seconds())
}

// invitedBefore says whether the one member with an address got just this invitation, and it may be sent again.
func (c *Commands) invitedBefore(ctx context.Context, w pg.Workspace, same []domain.Member, old []uuid.UUID, email, role string) (bool, error) {
	if len(same) != 1 || !slices.Contains(old, same[0].ID) || same[0].Status != domain.Invited || same[0].Role != role {
		return false, nil
	}
	people, err := c.OpenMembers(ctx, w, same)
	return people[same[0].ID].Email == email, err // as it is written: look-alikes are taken
}

// ChangeRole gives a member another role.
func (c *Commands) ChangeRole(ctx context.Context, r Request, id uuid.UUID, role string) (Result[domain.Member], error) {
	return c.UpdateMember(ctx, r, id, &role, domain.Optional[int]{})
}

// UpdateMember gives a member another role, and says what an hour is worth from here on; what is nil or not set stays. Nobody sets the
// rate who may change no member but oneself.
func (c *Commands) UpdateMember(ctx context.Context, r Request, id uuid.UUID, role *string, rate domain.Optional[int]) (Result[domain.Member], error) {
	var roles []domain.OwnRole
	var looked []pg.Statement
	if role != nil {
		looked = append(looked, projections.FindRole(&roles, *role))
	}
	return c.changeMember(ctx, r, id, domain.UpdateMember, nil, func(by projections.Actor, m projections.MemberRow) (events []domain.Event, err error) {
		if role != nil {
			wanted, err := mayGive(by, *role, roles)
			if err != nil {
				return nil, err
			}
			if events, err = m.ChangeRole(wanted, m.OtherAdmins); err != nil {
				return nil, err
			}
		}
		rated, err := m.ChangeRate(rate)
		if err == nil && rated != nil {
			err = allowOn(by, domain.UpdateMember, domain.Reach{})
		}
		return append(events, rated...), err
	}, looked...)
}

// ChangeLanguage makes mails to the actor come in another language. Whatever their role, that is their own affair.
func (c *Commands) ChangeLanguage(ctx context.Context, r Request, language string) (Result[domain.Member], error) {
	id, counted := r.By.Member, false
	before := domain.Member{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.MemberRow
		if err := a.read(ctx, projections.LoadMember(&rows, a.by, id)); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 {
			return plan{}, domain.Missing("member")
		}
		before = rows[0].Member
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := before.ChangeLanguage(language)
		if err == nil && events != nil && !counted { // what changes nothing, or is repeated, is free
			err = c.Limits.Take(ctx, limit.Counter{Name: limit.Language, Subject: id.String()})
			counted, err = err == nil, tooMany(err)
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// DeactivateMember keeps a member out, at once and on every path, and ends for good what let them in, but the password.
func (c *Commands) DeactivateMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.UpdateMember, endAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		return m.Deactivate(m.OtherAdmins)
	})
}

// ReactivateMember lets a deactivated member in again, by a log-in and by nothing else: what was under way when the member
// was deactivated (a log-in whose password was being compared, a code about to be mailed) may have been stored since, and
// ends here.
func (c *Commands) ReactivateMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.UpdateMember, endAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) { return m.Reactivate() })
}

// RemoveMember ends a membership, or takes an invitation back. Nothing of what let the member in stays, nor of how the
// address was found: the person may be invited again, as somebody new.
func (c *Commands) RemoveMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.DeleteMember, dropAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		return m.Remove(m.OtherAdmins)
	})
}

// changeMember decides on a member and on how many other admins there are. Both come from the roster, and
// so does the caller's own role, at a.by.Roster or later; the append expects the roster at just that
// version. So two admins who remove each other at the same instant cannot both succeed. also happens along with the events; looked is
// looked up in the same round trip.
func (c *Commands) changeMember(ctx context.Context, r Request, id uuid.UUID, permission domain.Permission, also []pg.Statement, decide func(projections.Actor, projections.MemberRow) ([]domain.Event, error), looked ...pg.Statement,
) (Result[domain.Member], error) {
	before := domain.Member{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.MemberRow
		if err := a.read(ctx, append(looked, projections.LoadMember(&rows, a.by, id))...); err != nil {
			return plan{}, err
		}
		err := mayChange(a.by, permission, rows)
		if err != nil {
			return plan{}, err
		}
		before = rows[0].Member
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		p := plan{stream: domain.RosterStream, version: a.by.Roster}
		if p.events, err = decide(a.by, rows[0]); len(p.events) > 0 {
			p.also = also
		}
		return p, err
	})
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// setAddress notes whose an address is. The note is in no event, and no read model: it goes with the member.
func setAddress(member uuid.UUID, hash string) pg.Statement {
	return pg.Exec(`insert into member_email (member_id, hash) values ($1, $2)`, member, hash)
}

// endAccess ends what lets a member in besides the password and a second factor that is on: sessions, API tokens, codes,
// and a second factor that was only proposed.
func endAccess(member uuid.UUID) []pg.Statement {
	return []pg.Statement{
		lockCredential(member), endSessions(member, uuid.Nil), endTokens(member), dropProposed(member),
		pg.Exec(`delete from invitation where member_id = $1`, member),
		pg.Exec(`delete from password_reset where email_hash in (select hash from member_email where member_id = $1)`, member),
	}
}

// dropAccess ends all that lets a member in, and forgets whose the address was.
func dropAccess(member uuid.UUID) []pg.Statement {
	return append(endAccess(member), dropTwoFactor(member), dropRecoveryCodes(member),
		pg.Exec(`delete from credential where member_id = $1`, member),
		pg.Exec(`delete from member_email where member_id = $1`, member))
}

// mayChange refuses to change a member whom the actor does not see, whom the permission does not reach, or who may do what
// the actor may not.
func mayChange(by projections.Actor, permission domain.Permission, rows []projections.MemberRow) error {
	if err := allow(by, permission); err != nil {
		return err
	}
	if len(rows) == 0 || !rows[0].Visible {
		return domain.Missing("member")
	}
	if err := allowOn(by, permission, domain.Reach{Own: rows[0].ID == by.Member}); err != nil {
		return err
	}
	return by.Role.Grants.MayActOn(rows[0].Held().Grants)
}

func checkPerson(prefix, email, fullName string) (normal string, err error) {
	if err := domain.CheckName(prefix+"/full_name", fullName); err != nil {
		return "", err
	}
	return checkEmail(prefix+"/email", email)
}

// checkEmail refuses what is no address, and gives the form in which it is compared: each mailbox has one.
func checkEmail(pointer, email string) (normal string, err error) {
	if err := domain.CheckEmail(pointer, email); err != nil {
		return "", err
	}
	if normal, err = mail.Normal(email); err != nil {
		return "", domain.InvalidField(pointer, "is an address that no mail can be sent to")
	}
	return normal, nil
}

func sealPerson(key vault.Key, email, fullName string) (sealedEmail, sealedName domain.Personal, err error) {
	e, err := key.Seal(emailField, email)
	if err != nil {
		return "", "", err
	}
	n, err := key.Seal(nameField, fullName)
	return domain.Personal(e), domain.Personal(n), err
}

// Person is the personal data of a member, opened.
type Person struct{ Email, FullName string }

// OpenMembers opens the personal data of members. Those who were erased have none, and neither have those whose data
// does not open, which is logged.
func (c *Commands) OpenMembers(ctx context.Context, w pg.Workspace, members []domain.Member) (map[uuid.UUID]Person, error) {
	ids := make([]uuid.UUID, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	keys, err := c.Vault.Keys(ctx, w, ids)
	if err != nil {
		return nil, err
	}
	people := make(map[uuid.UUID]Person, len(members))
	for _, m := range members {
		key, there := keys[m.ID]
		if !there || m.ErasedAt != nil {
			continue
		}
		person, err := openPerson(key, m)
		if err != nil {
			c.Log.ErrorContext(ctx, "the personal data of a member does not open", "workspace", w.ID, "member", m.ID, "error", err.Error())
			continue
		}
		people[m.ID] = person
	}
	return people, nil
}

func openPerson(key vault.Key, m domain.Member) (p Person, err error) {
	if m.Status != domain.Placeholder {
		if p.Email, err = key.Open(emailField, string(m.Email)); err != nil {
			return Person{}, err
		}
	}
	if p.FullName, err = key.Open(nameField, string(m.FullName)); err != nil {
		return Person{}, err
	}
	return p, nil
}
