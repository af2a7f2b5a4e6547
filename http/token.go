package http

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	// TokenBody is what the API shows of a personal API token.
	TokenBody struct {
		ID        uuid.UUID     `json:"id"`
		Name      string        `json:"name"`
		Grants    domain.Grants `json:"grants" doc:"What the token may do, as far as its owner may at the time."`
		ExpiresAt time.Time     `json:"expires_at"`
		CreatedAt time.Time     `json:"created_at"`
		UsedAt    *time.Time    `json:"used_at" doc:"Within a minute; null for never."`
		Version   int           `json:"version"`
	}
	tokenCreate struct {
		Body struct {
			Name      string         `json:"name" minLength:"1" maxLength:"200"`
			ExpiresAt time.Time      `json:"expires_at" doc:"A year from now at most."`
			Grants    []domain.Grant `json:"grants,omitempty" maxItems:"200" doc:"At most what you may do yourself. Left out: all that you may do now."`
		}
	}
	tokenCommand struct {
		ByID
		Conditional
	}
	tokenList struct {
		Listing[uuid.UUID]
	}
	tokenWritten struct {
		Written
		Body struct {
			TokenBody
			Token string `json:"token" doc:"Shown this once. Send it as Authorization: Bearer <token>."`
		}
	}
	tokensShown struct {
		Shown
		Body page[TokenBody]
	}
)

func token(a *api) {
	register(a, operation{Method: "GET", Path: "/api/tokens", ID: "list-tokens", Tag: "token", Status: http.StatusOK,
		Summary: "List my API tokens, the newest first", Access: withSession},
		func(ctx context.Context, by projections.Actor, in *tokenList) (*tokensShown, error) {
			rows, mark, err := a.Projections.ListTokens(ctx, by, pageAfterID(in.Listing))
			bodies := make([]TokenBody, len(rows))
			for i, t := range rows {
				bodies[i] = showToken(t.Token, t.UsedAt)
			}
			return &tokensShown{queryHeaders(mark, 0), paged(bodies, in.Listing, func(t TokenBody) uuid.UUID { return t.ID })}, err
		})
	register(a, operation{Method: "POST", Path: "/api/tokens", ID: "create-token", Tag: "token", Status: http.StatusCreated,
		Summary: "Make an API token", Access: withSession,
		Description: "It acts for you until it expires, is revoked, or you may no longer sign in. Since the token is shown only once, this takes no Idempotency-Key."},
		func(ctx context.Context, by projections.Actor, in *tokenCreate) (*tokenWritten, error) {
			done, text, err := a.Commands.CreateToken(ctx, commands.Request{By: by, Origin: originOf(ctx)},
				domain.TokenCreated{Name: in.Body.Name, ExpiresAt: in.Body.ExpiresAt, Grants: in.Body.Grants})
			out := &tokenWritten{Written: commandHeaders(done.Position, done.State.Version)}
			out.Body.TokenBody, out.Body.Token = showToken(done.State, nil), text
			return out, err
		})
	command(a, operation{Method: "DELETE", Path: "/api/tokens/{id}", ID: "revoke-token", Tag: "token", Status: http.StatusNoContent,
		Summary: "Revoke one of my API tokens", Access: withSession},
		func(ctx context.Context, r commands.Request, in *tokenCommand) (*written204, error) {
			return noContent(a.Commands.RevokeToken(ctx, r, in.ID))
		})
}

func showToken(t domain.Token, used *time.Time) TokenBody {
	return TokenBody{t.ID, t.Name, t.Grants, t.ExpiresAt, t.CreatedAt, used, t.Version}
}
