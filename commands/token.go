package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

// CreateToken creates a personal API token of the caller, and gives its text. The text is stored nowhere, so the caller sees it once.
//
//  1. The digest of the token is stored. Nobody has the token yet.
//  2. The event is appended. From then on the token can be revoked, and nothing of it is still under way.
//  3. The answer has the text.
func (c *Commands) CreateToken(ctx context.Context, r Request, wanted domain.TokenCreated) (Result[domain.Token], string, error) {
	id := uuid.Must(uuid.NewV7())
	text, digest := token.New(token.Personal, r.By.Workspace.ID)
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.read(ctx); err != nil {
			return plan{}, err
		}
		if err := inSession(a.by); err != nil { // a token that could make tokens would outlive its own end
			return plan{}, err
		}
		if a.by.TwoFactor.MustEnrol() { // the token would have no grants
			return plan{}, domain.EnrolFirst()
		}
		now, err := c.now(ctx)
		if err != nil {
			return plan{}, err
		}
		created, err := domain.NewToken(wanted, a.by.Role.Grants, now)
		if err == nil {
			err = c.storeToken(ctx, a.by, id, digest[:], created)
		}
		return plan{stream: domain.TokenStream(id), events: []domain.Event{created}}, err
	})
	created, err := result(ctx, c, r, projections.Tokens, domain.Token{}, done, err)
	if err != nil {
		drop := c.DB.Do(context.WithoutCancel(ctx), r.By.Workspace, pg.Exec(dropToken, id))
		return created, "", errors.Join(err, drop)
	}
	return created, text, nil
}

// storeToken stores the digest of a token, but only while the session that asks for it exists. A command that ends all access of a member ends the sessions
// before the tokens, so a session that has ended leaves no token.
func (c *Commands) storeToken(ctx context.Context, by projections.Actor, id uuid.UUID, digest []byte, t domain.TokenCreated) error {
	var stored []uuid.UUID
	err := c.DB.Do(ctx, by.Workspace,
		pg.Exec(`delete from token_secret where member_id = $1 and expires_at < now()`, by.Member),
		pg.Column(&stored, `with by as (select member_id from session where id = $1 for share)
			insert into token_secret (token_id, member_id, digest, grants, expires_at) select $2::uuid, member_id, $3::bytea, $4::jsonb, $5::timestamptz from by
			on conflict (token_id) do update set grants = excluded.grants returning token_id`, by.Session, id, digest, t.Grants, t.ExpiresAt))
	if err != nil {
		return fmt.Errorf("store the digest of token %s: %w", id, err)
	}
	if len(stored) == 0 {
		return sessionEnded()
	}
	return nil
}

const dropToken = `delete from token_secret where token_id = $1`

// RevokeToken ends one of the caller's own tokens. The token stops working before the event is in the log.
func (c *Commands) RevokeToken(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Token], error) {
	before := domain.Token{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Token
		if err := a.read(ctx, projections.LoadToken(&rows, a.by, id)); err != nil {
			return plan{}, err
		}
		if len(rows) == 0 {
			return plan{}, domain.Missing("token")
		}
		before = rows[0]
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := before.Revoke()
		if err == nil {
			err = c.DB.Do(ctx, a.by.Workspace, pg.Exec(dropToken, id))
		}
		return plan{stream: domain.TokenStream(id), version: before.Version, events: events}, err
	})
	return result(ctx, c, r, projections.Tokens, before, done, err)
}

// endTokens ends all tokens of a member. The event of the command that does so, such as a new password, is the only record of it.
func endTokens(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from token_secret where member_id = $1`, member)
}

// actorOfToken finds the actor with a session token or an API token; nil when there is none.
func (c *Commands) actorOfToken(ctx context.Context, t token.Parsed) (*projections.Actor, error) {
	w := pg.Workspace{ID: t.Workspace}
	if t.Kind == token.Personal {
		return c.Projections.ByToken(ctx, w, t.Digest)
	}
	return c.Projections.BySession(ctx, w, t.Digest)
}
