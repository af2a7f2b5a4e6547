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

// CreateToken makes a personal API token of the caller, and gives its text, which is stored nowhere: this is the
// one time to show it. Its digest is stored first: without the answer nobody has the token, and once it is in the log and can be
// revoked, nothing is on its way any more.
func (c *Commands) CreateToken(ctx context.Context, r Request, wanted domain.TokenCreated) (Result[domain.Token], string, error) {
	id := uuid.Must(uuid.NewV7())
	text, digest := token.New(token.Personal, r.By.Workspace.ID)
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.read(ctx); err != nil {
			return plan{}, err
		}
		if err := inSession(a.by); err != nil { // or a token could outlive its end, by another
			return plan{}, err
		}
		if a.by.TwoFactor.MustEnrol() { // it would be a token without grants
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

// storeToken stores what a token is compared with, only while the session that asks for it is there. Whoever ends all
// sessions of a member ends them before the tokens: so no token comes of a session that has ended.
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

// RevokeToken ends one of the caller's own tokens. It opens nothing any more before its end is in the log.
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

// endTokens ends all tokens of a member: what a new password does. The event that tells of the password tells of this.
func endTokens(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from token_secret where member_id = $1`, member)
}

// actorOfToken finds the actor with a token, of a session or of an API token; nil when there is none.
func (c *Commands) actorOfToken(ctx context.Context, t token.Parsed) (*projections.Actor, error) {
	w := pg.Workspace{ID: t.Workspace}
	if t.Kind == token.Personal {
		return c.Projections.ByToken(ctx, w, t.Digest)
	}
	return c.Projections.BySession(ctx, w, t.Digest)
}
