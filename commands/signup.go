package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/token"
)

// Signup is a request for a new workspace, with its first admin.
type Signup struct {
	Slug, Name      string
	Email, FullName string
	Password        string
	Plan, Region    string
	Language        string // empty: English
	From            Origin
}

// pending is a sign-up that waits for its code. It is stored sealed, whole.
type pending struct {
	Slug     string `json:"slug"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Normal   string `json:"normal"` // the address as it is compared
	FullName string `json:"full_name"`
	Password string `json:"password"` // a PHC string
	Plan     string `json:"plan"`
	Region   string `json:"region"`
	Language string `json:"language,omitempty"` // empty in a sign-up from before there were languages
}

const (
	codeLife     = 15 * time.Minute // how long a mailed code is valid
	codeAttempts = 5                // how often a mailed code may be tried
)

// SignUp stores a request for a workspace, and mails a code to its first admin. VerifySignup makes the workspace when the code comes back.
func (c *Commands) SignUp(ctx context.Context, s Signup) (id uuid.UUID, err error) {
	s.Region, s.Language = cmp.Or(s.Region, c.Region), cmp.Or(s.Language, domain.English)
	normal, err := c.checkSignup(s)
	if err != nil {
		return uuid.Nil, err
	}
	taken, err := c.Tenancy.SlugTaken(ctx, s.Slug)
	if err != nil {
		return uuid.Nil, err
	}
	if taken {
		return uuid.Nil, slugTaken()
	}
	home, err := c.home()
	if err != nil {
		return uuid.Nil, err
	}
	err = home.Limits.Take(ctx, append(limit.Network(limit.SignupIP, s.From.IP), limit.Counter{Name: limit.SignupDomain, Subject: limit.Organisation(normal)})...)
	if err != nil {
		return uuid.Nil, tooMany(err)
	}
	phc, err := c.hash(ctx, s.From, s.Password)
	if err != nil {
		return uuid.Nil, err
	}
	id = uuid.Must(uuid.NewV7())
	payload, err := json.Marshal(pending{s.Slug, s.Name, s.Email, normal, s.FullName, phc, s.Plan, s.Region, s.Language})
	if err != nil {
		return uuid.Nil, err
	}
	sealed, err := c.Keys.Seal(signupPurpose(id), payload)
	if err != nil {
		return uuid.Nil, fmt.Errorf("seal sign-up: %w", err)
	}
	code := token.NewCode()
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from kluis.signup where id in (select id from kluis.signup
			where expires_at < now() limit 100 for update skip locked)`); err != nil {
			return fmt.Errorf("delete what nobody verified: %w", err)
		}
		if _, err := tx.Exec(ctx, `insert into kluis.signup (id, sealed, code, expires_at) values ($1, $2, $3, now() + make_interval(secs => $4))`,
			id, sealed, c.Keys.MAC(signupPurpose(id), []byte(code)), codeLife.Seconds()); err != nil {
			return fmt.Errorf("store sign-up: %w", err)
		}
		return c.Outbox.Enqueue(ctx, tx, mail.Message{Of: mail.Recipient{Signup: id}, Template: "signup_code", To: s.Email, Language: s.Language,
			Values: map[string]string{"Name": s.FullName, "Workspace": s.Name, "Code": code, "URL": c.PublicURL}})
	})
	return id, err
}

// home gives the commands of the cell that counts sign-ups for all regions, so that a region more does not raise the limit.
func (c *Commands) home() (*Commands, error) {
	if c.Home == nil {
		return c, nil
	}
	return c.Home()
}

// HasSignup tells whether a sign-up waits here for its code.
func (c *Commands) HasSignup(ctx context.Context, id uuid.UUID) (waits bool, err error) {
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select exists (select from kluis.signup where id = $1)`, id).Scan(&waits)
	})
	return waits, err
}

func (c *Commands) checkSignup(s Signup) (normal string, err error) {
	if _, err := domain.NewWorkspace(domain.WorkspaceCreated{Slug: s.Slug, Name: s.Name, Plan: s.Plan, Region: s.Region}); err != nil {
		return "", err
	}
	if s.Region != c.Region {
		return "", domain.InvalidField("/region", "must be %s", c.Region)
	}
	if err := domain.CheckLanguage("/language", s.Language); err != nil {
		return "", err
	}
	if normal, err = checkPerson("", s.Email, s.FullName); err != nil {
		return "", err
	}
	return normal, checkPassword(s.Password, s.Slug, s.Name, normal)
}

// Admitted is a member with a fresh session.
type Admitted struct {
	In        pg.Workspace
	Workspace domain.Workspace
	Member    domain.Member
	Token     string
	ExpiresAt time.Time
	Device    string // the device token for the next log-in: see client
}

// admit remembers the network of the member, for the limits of later log-ins, and makes a device token.
func (c *Commands) admit(ctx context.Context, w pg.Workspace, ws domain.Workspace, m domain.Member, who accountName, from Origin, s *newSession) (Admitted, error) {
	device, err := c.Limits.Remember(ctx, who.subject(), from.IP)
	return Admitted{In: w, Workspace: ws, Member: m, Token: s.token, ExpiresAt: s.expires.UTC(), Device: device}, err
}

// VerifySignup makes the workspace of a sign-up whose code came back, and logs its first admin in. One transaction does all of it, so a process that is
// killed leaves the workspace whole or absent.
func (c *Commands) VerifySignup(ctx context.Context, from Origin, id uuid.UUID, code string) (Admitted, error) {
	if err := newer(c.Tenancy.MayProvision(ctx)); err != nil { // before the attempt counts
		return Admitted{}, err
	}
	p, err := c.openSignup(ctx, id, code)
	if err != nil {
		return Admitted{}, err
	}
	w := pg.Workspace{ID: id} // the id of the sign-up, so that a second try claims the slug for the same workspace
	f, err := c.foundation(w, p, from)
	if err != nil {
		return Admitted{}, errors.Join(err, c.uncountAttempt(ctx, id))
	}
	var receipt eventstore.Receipt
	err = c.Tenancy.Provision(ctx, w.ID, p.Slug, p.Region,
		func(tx pgx.Tx) (err error) { receipt, err = c.storeFoundation(ctx, tx, w, f); return err },
		func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `delete from kluis.signup where id = $1`, id)
			if err == nil && tag.RowsAffected() == 0 {
				return badCode()
			}
			if err == nil { // the mail has done what it was for
				_, err = tx.Exec(ctx, `delete from kluis_jobs.river_job where kind = 'mail' and args ->> 'signup' = $1`, id.String())
			}
			return err
		})
	if errors.Is(err, tenancy.ErrSlugTaken) {
		return Admitted{}, c.refuseSlug(ctx, id)
	}
	if err != nil {
		return Admitted{}, errors.Join(newer(err), c.uncountAttempt(ctx, id))
	}
	c.Store.Appended(w, receipt)
	ws, mark, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil {
		return Admitted{}, fmt.Errorf("read the new workspace at %d: %w", mark.Position, err)
	}
	member, err := c.Projections.MemberByID(ctx, w, f.member)
	if err != nil {
		return Admitted{}, err
	}
	return c.admit(ctx, w, ws, member, accountName{p.Slug, p.Normal}, from, f.session)
}

// newer turns tenancy.ErrNewer into the domain's refusal; any other error stays.
func newer(err error) error {
	if errors.Is(err, tenancy.ErrNewer) {
		return errors.Join(domain.ErrNewer, err)
	}
	return err
}

// refuseSlug tells apart another sign-up, which was quicker, and this one, whose code came twice.
func (c *Commands) refuseSlug(ctx context.Context, id uuid.UUID) error {
	waits, err := c.HasSignup(ctx, id)
	if err == nil && !waits {
		return badCode()
	}
	return errors.Join(slugTaken(), err)
}

// openSignup counts the attempt, and commits it, before it compares the code.
func (c *Commands) openSignup(ctx context.Context, id uuid.UUID, code string) (p pending, err error) {
	var sealed string
	var mac []byte
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `update kluis.signup set attempts = attempts + 1
			where id = $1 and attempts < $2 and expires_at > now() returning sealed, code`, id, codeAttempts).Scan(&sealed, &mac)
	})
	if err == nil {
		c.compared.Add(1)
	}
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !c.Keys.CheckMAC(signupPurpose(id), []byte(code), mac) {
		return p, badCode()
	}
	if err != nil {
		return p, fmt.Errorf("count attempt: %w", err)
	}
	payload, err := c.Keys.Open(signupPurpose(id), sealed)
	if err != nil {
		return p, fmt.Errorf("open sign-up %s: %w", id, err)
	}
	err = json.Unmarshal(payload, &p)
	return p, err
}

// uncountAttempt takes back the attempt of a request with the right code that failed in an outage, so that the same request may be sent again.
func (c *Commands) uncountAttempt(ctx context.Context, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unclaimIn)
	defer cancel()
	return c.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.signup set attempts = greatest(attempts - 1, 0) where id = $1`, id)
		return err
	})
}

// foundation is the first content of a workspace: keys, credential, session and events.
type foundation struct {
	member     uuid.UUID
	session    *newSession
	statements []pg.Statement
	append     eventstore.Append
}

func (c *Commands) foundation(w pg.Workspace, p pending, from Origin) (f foundation, err error) {
	f.member = uuid.Must(uuid.NewV7())
	f.session = makeSession(w, f.member)
	own, insertOwn, err := c.Vault.NewKey(w, w.ID)
	if err != nil {
		return f, err
	}
	personal, insertPersonal, err := c.Vault.NewKey(w, f.member)
	if err != nil {
		return f, err
	}
	added := domain.MemberAdded{MemberID: f.member, Role: domain.Admin, Language: p.Language}
	if added.Email, added.FullName, err = sealPerson(personal, p.Email, p.FullName); err != nil {
		return f, err
	}
	created, err := domain.NewWorkspace(domain.WorkspaceCreated{Slug: p.Slug, Name: p.Name, Plan: p.Plan, Region: p.Region})
	if err != nil {
		return f, err
	}
	f.append.Actor = f.member
	if f.append.Meta, err = from.seal(personal); err != nil {
		return f, err
	}
	for _, part := range []struct {
		stream string
		events []domain.Event
	}{{domain.WorkspaceStream(w.ID), created}, {domain.RosterStream, []domain.Event{added}}} {
		write, err := encode(part.stream, 0, part.events, nil)
		if err != nil {
			return f, err
		}
		f.append.Writes = append(f.append.Writes, write)
	}
	f.statements = []pg.Statement{insertOwn, insertPersonal, setAddress(f.member, own.Hash(emailField, p.Normal)), setPassword(f.member, p.Password), f.session.insert()}
	return f, nil
}

func (c *Commands) storeFoundation(ctx context.Context, tx pgx.Tx, w pg.Workspace, f foundation) (eventstore.Receipt, error) {
	if err := run(ctx, tx, f.statements...); err != nil {
		return eventstore.Receipt{}, fmt.Errorf("store keys and credential: %w", err)
	}
	return c.Store.AppendIn(ctx, in(tx), w, f.append)
}

// signupPurpose is the purpose for which the keyring seals a sign-up.
func signupPurpose(id uuid.UUID) string { return "kluis/signup/" + id.String() }

func slugTaken() error {
	return domain.Refuse(domain.Conflict, "slug_taken", "the workspace name is taken: choose another")
}

const badCodeName = "bad_code"

func badCode() error {
	return domain.Refuse(domain.Invalid, badCodeName, "the code is wrong, was used, or is no longer valid: ask for a new one")
}

// checkPassword applies the password policy, without asking any service.
func checkPassword(plain, slug, name, email string) error {
	local, _, _ := strings.Cut(email, "@")
	if err := password.Check(plain, slug, name, local); err != nil {
		return domain.InvalidField("/password", "%s", err)
	}
	return nil
}
