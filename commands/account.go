package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// accountName is the name that a stranger gives an account: the slug of a workspace, and an e-mail address. There may be no such account. Attempts are
// counted under the name all the same, so that limits and locks do not tell whether there is one.
type accountName struct{ slug, email string }

// newAccountName normalises what somebody typed. A text that is no e-mail address becomes an address that nobody has.
func newAccountName(slug, email string) accountName {
	email = strings.TrimSpace(email)
	normal, err := checkEmail("/email", email)
	if err != nil {
		normal = "\x00" + strings.ToLower(email)
	}
	return accountName{Slug(slug), normal}
}

// Slug normalises the name of a workspace as somebody typed it.
func Slug(typed string) string { return strings.ToLower(norm.NFKC.String(strings.TrimSpace(typed))) }

// locate finds the workspace of a name, and the keyed hash of its address there; "" when there is no such workspace.
func (c *Commands) locate(ctx context.Context, n accountName) (w pg.Workspace, hash string, err error) {
	entry, err := c.Tenancy.BySlug(ctx, n.slug)
	if errors.Is(err, tenancy.ErrUnknown) {
		return w, "", nil
	}
	if err != nil {
		return w, "", err
	}
	w = entry.Workspace()
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return w, "", err
	}
	return w, own.Hash(emailField, n.email), nil
}

// accountNameOf is the name under which a member's log-ins are counted.
func (c *Commands) accountNameOf(ctx context.Context, w pg.Workspace, m domain.Member) (accountName, error) {
	people, err := c.OpenMembers(ctx, w, []domain.Member{m})
	if err != nil {
		return accountName{}, err
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	return newAccountName(ws.Slug, people[m.ID].Email), err // an erased member has no address, so the name is nobody's
}

// note is something that happened to an account. It rests on no decision. The note of a change is stored in the transaction of the change.
type note struct {
	in     pg.Workspace
	member uuid.UUID
	actor  uuid.UUID // uuid.Nil for a caller who has not proven an identity
	from   Origin
	events []domain.Event

	roster  []domain.Event // events that change the rights of members
	decided int            // the version of the roster at which these were decided, or eventstore.Any
}

// noteAppend makes the append of a note. A note without events makes an append without writes.
func (c *Commands) noteAppend(ctx context.Context, n note) (a eventstore.Append, err error) {
	a.Actor = n.actor
	if a.Meta, err = c.sealOrigin(ctx, n.in, n.member, n.from); err != nil {
		return a, err
	}
	for _, part := range []struct {
		stream  string
		version int
		events  []domain.Event
	}{{domain.AccountStream(n.member), eventstore.Any, n.events}, {domain.RosterStream, n.decided, n.roster}} {
		if len(part.events) == 0 {
			continue
		}
		write, err := encode(part.stream, part.version, part.events, nil)
		if err != nil {
			return a, err
		}
		a.Writes = append(a.Writes, write)
	}
	return a, nil
}

// notePatience is how long a change of an account waits for the earlier notes of that account that noteLater still holds, so that the log has
// all of them in their order. The wait takes a few milliseconds when all is well.
const notePatience = 100 * time.Millisecond

// noteLater records a note in the background, so that the time of an answer to a wrong password does not tell whether there is such an
// account. A note that cannot be recorded goes to the log of this process.
func (c *Commands) noteLater(ctx context.Context, n note) {
	failed := func(err error) {
		c.Log.WarnContext(ctx, "an event of an account was not recorded", "workspace", n.in.ID, "member", n.member,
			"type", domain.TypeOf(n.events[0]), "error", err.Error())
	}
	if !c.notes.do(ctx, n.member, func(ctx context.Context) {
		a, err := c.noteAppend(ctx, n)
		if err == nil {
			_, err = c.Store.Append(ctx, n.in, a)
		}
		if err != nil {
			failed(err)
		}
	}) {
		failed(errors.New("too many notes wait"))
	}
}

// noteFailed records a failed log-in, and the lock that followed. The member gets a mail about the first of several locks. reason is empty for a
// wrong password; otherwise the password was right.
func (c *Commands) noteFailed(ctx context.Context, w pg.Workspace, a projections.Account, from Origin, lock limit.Lock, reason string) {
	events := []domain.Event{domain.MemberLoginFailed{MemberID: a.ID, Reason: reason}}
	if !lock.Until.IsZero() {
		events = append(events, domain.MemberLocked{MemberID: a.ID, Until: lock.Until.UTC()})
	}
	c.noteLater(ctx, note{in: w, member: a.ID, from: from, events: events})
	if lock.Until.IsZero() || lock.Again || a.Status != domain.Active {
		return
	}
	values := map[string]string{}
	if reason != "" {
		values["Known"] = "yes"
	}
	values["Minutes"] = strconv.Itoa(int(math.Ceil(time.Until(lock.Until).Minutes())))
	c.mails.do(ctx, func(ctx context.Context) {
		message, err := c.mailTo(ctx, w, a, "locked", values)
		if err == nil {
			err = c.DB.Control(ctx, func(tx pgx.Tx) error { return c.enqueue(ctx, tx, message) })
		}
		if err != nil {
			c.Log.WarnContext(ctx, "a mail about a lock was not sent", "workspace", w.ID, "member", a.ID, "error", err.Error())
		}
	})
}

// mailTo writes a mail to a member, with values for the template besides the person's name and the workspace's.
func (c *Commands) mailTo(ctx context.Context, w pg.Workspace, a projections.Account, template string, values map[string]string) (mail.Message, error) {
	key, err := c.Vault.Key(ctx, w, a.ID)
	if err != nil {
		return mail.Message{}, err
	}
	person, err := openPerson(key, domain.Member{ID: a.ID, Email: a.Email, FullName: a.FullName})
	if err != nil {
		return mail.Message{}, fmt.Errorf("open the personal data of member %s: %w", a.ID, err)
	}
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return mail.Message{}, err
	}
	message := mail.Message{Of: mail.Recipient{Workspace: w.ID, Member: a.ID}, Template: template, To: person.Email, Language: a.Language, Values: map[string]string{"Name": person.FullName, "Workspace": ws.Name, "URL": c.PublicURL}}
	maps.Copy(message.Values, values)
	return message, nil
}

// MailAdmins queues a mail to each active admin of a workspace, in a transaction of the login. An admin who was erased gets none.
func (c *Commands) MailAdmins(ctx context.Context, tx pgx.Tx, w pg.Workspace, template string, values map[string]string) error {
	admins, err := c.Projections.Admins(ctx, w)
	if err != nil {
		return err
	}
	for _, admin := range admins {
		message, err := c.mailTo(ctx, w, admin, template, values)
		if errors.Is(err, vault.ErrErased) {
			continue
		}
		if err == nil {
			err = c.enqueue(ctx, tx, message)
		}
		if err != nil {
			return fmt.Errorf("mail admin %s: %w", admin.ID, err)
		}
	}
	return nil
}

// enqueue queues a mail, in a transaction of the login. A mail to an address that mail cannot reach is logged and left out, because the change
// that the mail tells of must not fail for it.
func (c *Commands) enqueue(ctx context.Context, tx pgx.Tx, message mail.Message) error {
	err := c.Outbox.Enqueue(ctx, tx, message)
	if errors.Is(err, mail.ErrRefused) { // nothing was sent to the database yet
		c.Log.WarnContext(ctx, "mail not sent", "template", message.Template, "error", err.Error())
		return nil
	}
	return err
}

// UnlockMember ends the locks of a member's account, and forgets its failures and its codes.
//
//  1. The event is appended.
//  2. The locks end. A command that is broken off before this step leaves the account locked, and may be sent again.
//
// A repeated command with the same idempotency key ends the locks of the first time, and no lock since.
func (c *Commands) UnlockMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	unlocked, done, err := c.changeAccount(ctx, r, id, func(a *attempt, m domain.Member) ([]domain.Event, error) {
		who, err := c.accountNameOf(ctx, r.By.Workspace, m)
		if err != nil {
			return nil, err
		}
		locked, err := c.Limits.Full(ctx, who.counters("", slices.Concat(loginLimits, factorLimits)...)...)
		if err != nil || !locked {
			return nil, err
		}
		return []domain.Event{domain.MemberUnlocked{MemberID: id}}, nil
	})
	if err != nil || done.repeated && len(done.records) == 0 {
		return unlocked, err
	}
	until := time.Time{}
	if done.repeated {
		until = done.records[0].At
	}
	who, err := c.accountNameOf(ctx, r.By.Workspace, unlocked.State)
	if err != nil {
		return unlocked, err
	}
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		return c.Limits.Clear(ctx, tx, until, who.counters("", slices.Concat(loginLimits, factorLimits, forgotLimits, []string{limit.CodeRun})...)...)
	})
	return unlocked, err
}

// changeAccount runs a command on the account of another member. The events go to the stream of the account, and the state of the member
// does not change. query runs in the same round trip as the reads for decide.
func (c *Commands) changeAccount(ctx context.Context, r Request, id uuid.UUID, decide func(*attempt, domain.Member) ([]domain.Event, error), query ...pg.Statement) (Result[domain.Member], effect, error) {
	member := domain.Member{ID: id}
	p := plan{stream: domain.AccountStream(id)}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.MemberRow
		read := append([]pg.Statement{projections.LoadMember(&rows, a.by, id), eventstore.Version(&p.version, p.stream)}, query...)
		if err := a.read(ctx, read...); err != nil {
			return p, err
		}
		if err := mayChange(a.by, domain.UpdateMember, rows); err != nil {
			return p, err
		}
		member = rows[0].Member
		if err := r.match(member.Version); err != nil {
			return p, err
		}
		var err error
		p.events, err = decide(a, member)
		return p, err
	})
	ofMember := done
	ofMember.records = nil
	as, err := result(ctx, c, r, projections.Members.Model, member, ofMember, err)
	return as, done, err
}
