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

// The fields under which a member's personal data is sealed. Each is part of the sealed value, so a value does not open as another field.
const (
	emailField = "member.email"
	nameField  = "member.full_name"
)

// Invitation is the person whom a member invites.
type Invitation struct {
	Email, FullName string
	Role            string
	Language        string     // empty: the language of the inviting member
	PlaceholderID   *uuid.UUID // the placeholder that becomes this person; nil for none
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

// InviteMember invites a person by e-mail. A second invitation to the same role sends another code, once the first is used up or a minute old. The mail
// with the code is a reaction to the event (see jobs). Every invitation is counted, because its mail goes to a stranger.
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
	id, key, also, err := c.placeholderKey(ctx, w, wanted.PlaceholderID)
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

// mayInvite gives the id of the role that the person gets. It refuses an inviter who may not invite, or who lacks a grant of the role, and the id of a
// member who is no placeholder. roles and placed are what was found under the ids in wanted.
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

// invitedBefore tells whether the only member with an address got this same invitation, and it may be sent again.
func (c *Commands) invitedBefore(ctx context.Context, w pg.Workspace, same []domain.Member, old []uuid.UUID, email, role string) (bool, error) {
	if len(same) != 1 || !slices.Contains(old, same[0].ID) || same[0].Status != domain.Invited || same[0].Role != role {
		return false, nil
	}
	people, err := c.OpenMembers(ctx, w, same)
	return people[same[0].ID].Email == email, err // letter by letter: another spelling of the address is taken
}

// ChangeRole gives a member another role.
func (c *Commands) ChangeRole(ctx context.Context, r Request, id uuid.UUID, role string) (Result[domain.Member], error) {
	return c.UpdateMember(ctx, r, id, &role, domain.Optional[int]{})
}

// UpdateMember gives a member another role, or another hourly rate from now on. A nil role and a rate that is not set stay. A caller who may change no
// other member may not set a rate.
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

// ChangeLanguage changes the language of the mails to the actor. Every role may do this.
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
		if err == nil && events != nil && !counted { // a request that changes nothing, or is repeated, is not counted
			err = c.Limits.Take(ctx, limit.Counter{Name: limit.Language, Subject: id.String()})
			counted, err = err == nil, tooMany(err)
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events}, err
	})
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// DeactivateMember locks a member out, at once and on every path. Sessions, tokens and codes end for good, and the timer stops; the password stays.
func (c *Commands) DeactivateMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.UpdateMember, endAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		return m.Deactivate(m.OtherAdmins)
	})
}

// ReactivateMember lets a deactivated member log in again. A log-in that was under way at the deactivation, or a code that was about to be mailed, may
// have been stored since. It ends here, so nothing but a new log-in lets the member in.
func (c *Commands) ReactivateMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.UpdateMember, endAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) { return m.Reactivate() })
}

// RemoveMember ends a membership, or withdraws an invitation. Password, sessions, tokens and codes are deleted, and the address is forgotten, so the
// person may be invited again as a new member.
func (c *Commands) RemoveMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	return c.changeMember(ctx, r, id, domain.DeleteMember, dropAccess(id), func(_ projections.Actor, m projections.MemberRow) ([]domain.Event, error) {
		return m.Remove(m.OtherAdmins)
	})
}

// changeMember decides on a member and on the number of other admins. Two admins who remove each other at the same instant cannot both succeed:
//
//  1. Member, number of admins and the caller's own role are read from the roster, at version a.by.Roster or later.
//  2. The append expects the roster at version a.by.Roster. Of two appends at one version, one is stored.
//  3. The other command reads the roster again, and decides anew.
//
// The statements in also run in the transaction of the events. Those in looked run in the round trip of the reads.
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
		if err != nil {
			return p, err
		}
		return stopTimerOf(ctx, a, p, id)
	})
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// setAddress stores which member has an address. No event and no read model has this; it is deleted with the member.
func setAddress(member uuid.UUID, hash string) pg.Statement {
	return pg.Exec(`insert into member_email (member_id, hash) values ($1, $2)`, member, hash)
}

// endAccess ends all access of a member but the password and a second factor that is on: sessions, API tokens, codes, and a second factor that was
// only proposed.
func endAccess(member uuid.UUID) []pg.Statement {
	return []pg.Statement{
		lockCredential(member), endSessions(member, uuid.Nil), endTokens(member), dropProposed(member),
		pg.Exec(`delete from invitation where member_id = $1`, member),
		pg.Exec(`delete from password_reset where email_hash in (select hash from member_email where member_id = $1)`, member),
	}
}

// dropAccess ends all access of a member, and forgets the address.
func dropAccess(member uuid.UUID) []pg.Statement {
	return append(endAccess(member), dropTwoFactor(member), dropRecoveryCodes(member),
		pg.Exec(`delete from credential where member_id = $1`, member),
		pg.Exec(`delete from member_email where member_id = $1`, member))
}

// mayChange refuses to change a member whom the actor does not see, whom the permission does not reach, or who has a grant that the actor lacks.
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

// checkEmail refuses a text that is no e-mail address, and gives the normal form of the address, in which addresses are compared.
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

// Person is the personal data of a member in clear.
type Person struct{ Email, FullName string }

// OpenMembers gives the personal data of members in clear, by id. Erased members are left out. So are members whose data does not open, which is logged.
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
