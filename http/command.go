package http

import (
	"bytes"
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

// conditioned is a pointer to an input that embeds Idempotent or Conditional.
type conditioned[I any] interface {
	*I
	conditions() (key string, versions []int) // empty and nil for none
}

// command declares an operation that is a command by a member. handle gets a request with the caller, the network, and the conditions. A
// command that takes no Idempotency-Key uses register, and says why: an input without Idempotent or Conditional does not compile here.
func command[I any, P conditioned[I], O any](a *api, op operation, handle func(ctx context.Context, r commands.Request, in P) (*O, error)) {
	register(a, op, func(ctx context.Context, by projections.Actor, in *I) (*O, error) {
		key, versions := P(in).conditions()
		r, err := request(ctx, by, op, key, versions)
		if err != nil {
			return nil, err
		}
		return handle(ctx, r, P(in))
	})
}

// request tells commands who the caller is, where the request came from, and its conditions. An Idempotency-Key counts for one member and
// one operation.
func request(ctx context.Context, by projections.Actor, op operation, given string, versions []int) (commands.Request, error) {
	r := commands.Request{By: by, Origin: originOf(ctx), IfMatch: versions}
	if given == "" {
		return r, nil
	}
	key, err := json.Marshal([]any{by.Member, op.ID, given})
	if err != nil {
		return r, err
	}
	asked, err := exchangeOf(ctx).asked(op.Method, versions)
	if err != nil {
		return r, err
	}
	r.Once = &commands.Once{Key: sha256.Sum256(key), Fingerprint: sha256.Sum256(asked)}
	return r, nil
}

// asked is the request as it was sent, for the fingerprint of its key. The parsed form would not do, because a repeat may reach the next
// version of this program, which may parse other fields. White space and the order of names do not count.
func (x *exchange) asked(method string, versions []int) ([]byte, error) {
	var body any
	if x.body != nil {
		dec := json.NewDecoder(bytes.NewReader(x.body))
		dec.UseNumber() // two numbers that one float64 holds are two
		if err := dec.Decode(&body); err != nil {
			return nil, err
		}
	}
	return json.Marshal([]any{method, x.path, versions, body})
}

// queryHeaders are the headers of an answer to a query: position, how far behind, version.
func queryHeaders(mark projections.Mark, version int) Shown {
	return queryHeadersAt(mark.Position, mark.Behind(), version)
}

// pageAfterID is the page behind the id in the cursor; the first page without one.
func pageAfterID(in Listing[uuid.UUID]) projections.Page {
	page := projections.Page{Limit: in.Limit}
	if in.Cursor.Given {
		page.After = &projections.After{ID: in.Cursor.After}
	}
	return page
}
