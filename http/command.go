package http

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/projections"
)

// Shared pieces of operations that are commands.

// ByID is for the input of an operation on one thing.
type ByID struct {
	ID uuid.UUID `path:"id" doc:"The id of the thing."`
}

// written204 is the output of a command that has nothing to show.
type written204 struct{ Written }

// originOf is where the request of ctx came from.
func originOf(ctx context.Context) commands.Origin {
	return commands.Origin{IP: clientOf(ctx), UserAgent: agentOf(ctx)}
}

// request tells commands who asks, from where, and under which conditions.
func request(ctx context.Context, by projections.Actor, match Conditional) commands.Request {
	r := commands.Request{By: by, Origin: originOf(ctx)}
	if match.IfMatch.Version > 0 {
		r.IfMatch = &match.IfMatch.Version
	}
	return r
}

// requestOnce is request for an operation that takes an Idempotency-Key. The key is the member's, for this
// operation; payload is all that was asked for.
func requestOnce(ctx context.Context, by projections.Actor, operation string, in Idempotent, payload ...any) (commands.Request, error) {
	r := commands.Request{By: by, Origin: originOf(ctx)}
	if in.IdempotencyKey == "" {
		return r, nil
	}
	key, err := json.Marshal([]any{by.Member, operation, in.IdempotencyKey})
	if err != nil {
		return r, err
	}
	asked, err := json.Marshal(payload)
	if err != nil {
		return r, err
	}
	r.Once = &commands.Once{Key: sha256.Sum256(key), Fingerprint: sha256.Sum256(asked)}
	return r, nil
}

// seen is the header part of a query's answer.
func seen(mark projections.Mark, version int) Shown {
	return shown(mark.Position, mark.Behind(), version)
}

// pageOf asks for the part of a list that goes on from an id.
func pageOf(in Listing[uuid.UUID]) projections.Page {
	page := projections.Page{Limit: in.Limit}
	if in.Cursor.Given {
		page.After = &in.Cursor.After
	}
	return page
}
