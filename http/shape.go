package http

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/projections"
)

// The inputs and outputs that most nouns have. B is a body.
type (
	creating[B any] struct { // makes a thing
		Idempotent
		Body B
	}
	creatingIn[B any] struct { // makes a thing that belongs to the one in the path
		ByID
		Idempotent
		Body B
	}
	changing[B any] struct { // changes a thing
		ByID
		Conditional
		Body B
	}
	doing struct { // changes a thing, and the path says how
		ByID
		Conditional
	}
	personal struct { // changes a member's part in a thing
		ByID
		Conditional
		MemberID uuid.UUID `path:"member_id"`
	}
	listing   struct{ Sorted }
	listingIn struct { // of the things that belong to the task in the path
		ByID
		Sorted
	}

	asking struct { // for a thing, as it is or as it was
		ByID
		AsOf Instant `query:"as_of" doc:"The thing as it was at this instant."`
	}

	askingAll struct { // for what there is one of
		AsOf Instant `query:"as_of" doc:"As it was at this instant."`
	}

	wrote[B any] struct { // what a command made of a thing
		Written
		Body B
	}
	shows[B any] struct {
		Shown
		Body B
	}
)

// answered is the answer to a command that shows the thing as the command left it.
func answered[T any](done commands.Result[T], err error) (*wrote[T], error) {
	return &wrote[T]{commandHeaders(done.Position, projections.Version(done.State)), done.State}, err
}

// noContent is the answer to a command that shows the version only.
func noContent[T any](done commands.Result[T], err error) (*written204, error) {
	return &written204{commandHeaders(done.Position, projections.Version(done.State))}, err
}

// getting answers with one thing of a noun, as it is or as it was.
func getting[T any](a *api, noun *projections.Noun[T]) func(context.Context, projections.Actor, *asking) (*shows[stored[T]], error) {
	return func(ctx context.Context, by projections.Actor, in *asking) (*shows[stored[T]], error) {
		if in.AsOf.Value == nil {
			shown, version, mark, err := noun.GetShown(ctx, a.Projections, by, in.ID)
			return &shows[stored[T]]{queryHeaders(mark, version), stored[T]{shown}}, err
		}
		state, mark, err := noun.AsOf(ctx, a.Projections, by, in.ID, *in.AsOf.Value)
		if err != nil {
			return nil, err
		}
		return &shows[stored[T]]{queryHeaders(mark, projections.Version(state)), stored[T]{encoded(state)}}, nil
	}
}

// gettingRow is getting for a noun whose answers show more than the state; get reads the thing as it is now.
func gettingRow[R, T any](a *api, noun *projections.Noun[T], row row[R, T], get func(context.Context, projections.Actor, uuid.UUID) (R, projections.Mark, error)) func(context.Context, projections.Actor, *asking) (*shows[R], error) {
	return func(ctx context.Context, by projections.Actor, in *asking) (*shows[R], error) {
		if in.AsOf.Value == nil {
			r, mark, err := get(ctx, by, in.ID)
			return &shows[R]{queryHeaders(mark, projections.Version(row.state(r))), r}, err
		}
		state, mark, err := noun.AsOf(ctx, a.Projections, by, in.ID, *in.AsOf.Value)
		if err != nil {
			return nil, err
		}
		rows, err := row.asOf(ctx, by, []T{state})
		if err != nil {
			return nil, err
		}
		return &shows[R]{queryHeaders(mark, projections.Version(state)), rows[0]}, nil
	}
}

// getAt answers with one thing, as it is or as it was at an instant.
func getAt[T any](ctx context.Context, a *api, noun *projections.Noun[T], by projections.Actor, id uuid.UUID, at Instant) (T, projections.Mark, error) {
	if at.Value != nil {
		return noun.AsOf(ctx, a.Projections, by, id, *at.Value)
	}
	return noun.Get(ctx, a.Projections, by, id)
}

// listAt answers with the things of one stream, as they are or as they were at an instant, and with one more when there is more.
func listAt[T any](ctx context.Context, a *api, noun *projections.Noun[T], by projections.Actor, page projections.Page, filter any, at Instant) ([]T, projections.Mark, error) {
	if at.Value == nil {
		return noun.List(ctx, a.Projections, by, page, filter)
	}
	were, mark, err := noun.All(ctx, a.Projections, by, at.Value)
	if err != nil {
		return nil, mark, err
	}
	rows, err := noun.ListOf(ctx, a.Projections, by, page, filter, were)
	return rows, mark, err
}

// idOrNil gives nil for the id of zeros, which stands for an absent id.
func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
