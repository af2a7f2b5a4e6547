package http

import (
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
	listing   struct{ Listing[uuid.UUID] }
	listingIn struct { // of the things that belong to the one in the path
		ByID
		Listing[uuid.UUID]
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

// answered is a command's answer that shows the thing as the command left it.
func answered[T any](done commands.Result[T], err error) (*wrote[T], error) {
	return &wrote[T]{written(done.Position, projections.Version(done.State)), done.State}, err
}

// noContent is a command's answer that shows nothing but the version.
func noContent[T any](done commands.Result[T], err error) (*written204, error) {
	return &written204{written(done.Position, projections.Version(done.State))}, err
}

// one is the answer of a query for one thing.
func one[T any](thing T, mark projections.Mark, err error) (*shows[T], error) {
	return &shows[T]{seen(mark, projections.Version(thing)), thing}, err
}

// listed is the answer of a list of a noun: rows that were asked for with one more than the limit.
func listed[T any](in Listing[uuid.UUID], noun *projections.Noun[T], rows []T, mark projections.Mark, err error) (*shows[page[T]], error) {
	return &shows[page[T]]{seen(mark, 0), paged(rows, in.Limit, noun.ID)}, err
}
