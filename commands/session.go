package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

// newSession is a session about to be stored. The token is shown once; the database has its digest.
type newSession struct {
	token   string
	expires time.Time
	insert  pg.Statement
}

func (c *Commands) newSession(w pg.Workspace, member uuid.UUID) newSession {
	text, digest := token.New(token.Session, w.ID)
	expires := c.now().Add(projections.SessionLife).UTC().Truncate(time.Second)
	return newSession{token: text, expires: expires,
		insert: pg.Exec(`insert into session (id, member_id, digest, expires_at) values ($1, $2, $3, $4)`,
			uuid.Must(uuid.NewV7()), member, digest[:], expires)}
}

func setPassword(member uuid.UUID, phc string) pg.Statement {
	return pg.Exec(`insert into credential (member_id, password) values ($1, $2)
		on conflict (member_id) do update set password = excluded.password, updated_at = now()`, member, phc)
}

func badCredentials() error {
	return domain.Refuse(domain.Unauthenticated, "bad_credentials", "workspace, e-mail address or password is wrong")
}

// Login opens a session. Who is not known gets the same answer, after the same work, as who is.
func (c *Commands) Login(ctx context.Context, slug, email, plain string) (Admitted, error) {
	w, account, err := c.account(ctx, slug, email)
	if err != nil {
		return Admitted{}, err
	}
	if account == nil {
		if err := c.Hasher.VerifyNone(ctx, plain); err != nil {
			return Admitted{}, busyHashing(err)
		}
		return Admitted{}, badCredentials()
	}
	right, weak, err := c.Hasher.Verify(ctx, account.Password, plain)
	if err != nil {
		return Admitted{}, busyHashing(err)
	}
	if !right {
		return Admitted{}, badCredentials()
	}
	session := c.newSession(w, account.ID)
	statements := []pg.Statement{session.insert}
	if weak {
		phc, err := c.hash(ctx, plain)
		if err != nil {
			return Admitted{}, err
		}
		statements = append(statements, setPassword(account.ID, phc))
	}
	if err := c.DB.Do(ctx, w, statements...); err != nil {
		return Admitted{}, fmt.Errorf("store session: %w", err)
	}
	ws, _, err := c.Views.GetWorkspace(ctx, w)
	if err != nil {
		return Admitted{}, err
	}
	member, err := c.Views.MemberByID(ctx, w, account.ID)
	return Admitted{In: w, Workspace: ws, Member: member, Token: session.token, ExpiresAt: session.expires}, err
}

// account finds the active member with an address; nil when there is none.
func (c *Commands) account(ctx context.Context, slug, email string) (pg.Workspace, *projections.Account, error) {
	w, hash, err := c.locate(ctx, slug, email)
	if err != nil || hash == "" {
		return w, nil, err
	}
	account, err := c.Views.AccountByEmail(ctx, w, hash, domain.Active)
	return w, account, err
}

// locate finds the workspace of a slug and the keyed hash of an address in it; "" when there is neither.
func (c *Commands) locate(ctx context.Context, slug, email string) (w pg.Workspace, hash string, err error) {
	normal, invalid := domain.CheckEmail("/email", email)
	if invalid != nil {
		return w, "", nil //nolint:nilerr // no account has such an address, and that is all there is to say
	}
	entry, err := c.Tenancy.BySlug(ctx, slug)
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
	return w, own.Hash(emailField, normal), nil
}

// Logout ends the session that the actor came with.
func (c *Commands) Logout(ctx context.Context, by projections.Actor) error {
	return c.DB.Do(ctx, by.Workspace, pg.Exec(`delete from session where id = $1`, by.Session))
}

// EndSession ends one of the actor's own sessions.
func (c *Commands) EndSession(ctx context.Context, by projections.Actor, id uuid.UUID) error {
	var ended []uuid.UUID
	err := c.DB.Do(ctx, by.Workspace,
		pg.Column(&ended, `delete from session where id = $1 and member_id = $2 returning id`, id, by.Member))
	if err == nil && len(ended) == 0 {
		return domain.Missing("session")
	}
	return err
}

// Authenticate finds who shows a token: an Unauthenticated refusal when nobody does.
func (c *Commands) Authenticate(ctx context.Context, bearer string) (projections.Actor, error) {
	refused := domain.Refuse(domain.Unauthenticated, "unauthenticated", "the token is missing, wrong, or has ended: log in")
	parsed, err := token.Parse(bearer)
	if err != nil || parsed.Kind != token.Session {
		return projections.Actor{}, refused
	}
	actor, err := c.Views.BySession(ctx, pg.Workspace{ID: parsed.Workspace}, parsed.Digest)
	if pg.Is(err, pg.NoSuchRole) { // a workspace that never was, or is no more
		return projections.Actor{}, refused
	}
	if err != nil {
		return projections.Actor{}, fmt.Errorf("authenticate: %w", err)
	}
	if actor == nil {
		return projections.Actor{}, refused
	}
	return *actor, nil
}
