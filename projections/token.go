package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Tokens is the read model of the personal API tokens. Its hash, which a shown token is compared with, is not here: see ByToken.
var Tokens = newModel("token", domain.TokenStream,
	ofKind("token"),
	(*domain.Token).Apply,
	func(t domain.Token) uuid.UUID { return t.ID })

// A token is its member's own affair: no role reaches those of others.
const (
	//nolint:gosec // names of columns, no credentials
	tokenColumns = `token.id, token.member_id, token.name, token.grants, token.expires_at, token.created_at, token.updated_at,
		token.revoked_at, token.version, token.position`
	listTokens = `select ` + tokenColumns + `, s.used_at from token join token_secret s on s.token_id = token.id
		where token.member_id = $1 and token.revoked_at is null and ($2::uuid is null or token.id < $2) order by token.id desc limit $3`
	loadToken = `select ` + tokenColumns + ` from token where id = $2 and member_id = $1`
)

// ListedToken is a token with when it was last used, within a minute; nil for never.
type ListedToken struct {
	domain.Token
	UsedAt *time.Time
}

// ListTokens answers with the actor's own tokens that have not ended but by their time, the newest first.
func (p *Projections) ListTokens(ctx context.Context, by Actor, page Page) ([]ListedToken, Mark, error) {
	return list[ListedToken](ctx, p, by.Workspace, listTokens, by.Member, page.id(), page.Limit+1)
}

// LoadToken is the query for a decision on one of the actor's own tokens.
func LoadToken(into *[]domain.Token, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadToken, by.Member, id)
}
