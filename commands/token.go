package commands

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

// CreateToken makes a personal API token of the caller, and gives its text, which is stored nowhere: this is the
// one time to show it. Broken off after the append, the token is in the log and the list and opens nothing.
func (c *Commands) CreateToken(ctx context.Context, r Request, wanted domain.TokenCreated) (Result[domain.Token], string, error) {
	id := uuid.Must(uuid.NewV7())
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.look(ctx); err != nil {
			return plan{}, err
		}
		if a.by.Session == uuid.Nil { // or a token could outlive its end, by another
			return plan{}, domain.Refuse(domain.Forbidden, "session_required", "an API token cannot make another: log in")
		}
		if a.by.TwoFactor.MustEnrol() { // it would be a token without grants
			return plan{}, domain.EnrolFirst()
		}
		events, err := domain.NewToken(wanted, a.by.Role.Grants, c.now())
		return plan{stream: domain.TokenStream(id), events: events}, err
	})
	created, err := result(ctx, c, r, projections.Tokens, domain.Token{}, done, err)
	if err != nil {
		return created, "", err
	}
	text, digest := token.New(token.Personal, r.By.Workspace.ID)
	err = c.DB.Do(ctx, r.By.Workspace, pg.Exec(`insert into token_secret (token_id, member_id, digest, grants, expires_at) values ($1, $2, $3, $4, $5)`,
		id, created.State.MemberID, digest[:], created.State.Grants, created.State.ExpiresAt))
	if err != nil {
		return created, "", fmt.Errorf("store the digest of token %s: %w", id, err)
	}
	return created, text, nil
}

// RevokeToken ends one of the caller's own tokens. It opens nothing any more before its end is in the log.
func (c *Commands) RevokeToken(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Token], error) {
	var before domain.Token
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []domain.Token
		if err := a.look(ctx, projections.LoadToken(&rows, a.by, id)); err != nil {
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
			err = c.DB.Do(ctx, a.by.Workspace, pg.Exec(`delete from token_secret where token_id = $1`, id))
		}
		return plan{stream: domain.TokenStream(id), version: before.Version, events: events}, err
	})
	return result(ctx, c, r, projections.Tokens, before, done, err)
}

// endTokens ends all tokens of a member: what a new password does. The event that tells of the password tells of this.
func endTokens(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from token_secret where member_id = $1`, member)
}

// shown finds who shows a token, of either kind; nil for nobody.
func (c *Commands) shown(ctx context.Context, t token.Parsed) (*projections.Actor, error) {
	w := pg.Workspace{ID: t.Workspace}
	if t.Kind == token.Personal {
		return c.Views.ByToken(ctx, w, t.Digest)
	}
	return c.Views.BySession(ctx, w, t.Digest)
}
