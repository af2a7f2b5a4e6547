package http

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// row is how answers show the things of a noun.
type row[R, T any] struct {
	state func(R) T                                                                // the state in a row
	asOf  func(ctx context.Context, by projections.Actor, states []T) ([]R, error) // rows of states of the past; nil when the list itself reads the past
}

// rowOf makes rows of past states with a function of one state.
func rowOf[R, T any](state func(R) T, was func(T) R) row[R, T] {
	return row[R, T]{state, func(_ context.Context, _ projections.Actor, states []T) ([]R, error) {
		rows := make([]R, len(states))
		for i, s := range states {
			rows[i] = was(s)
		}
		return rows, nil
	}}
}

// encoded is the JSON of a state, as a list shows it.
func encoded[T any](state T) projections.Shown {
	text, err := json.Marshal(state)
	if err != nil {
		panic(err) // of a state: a mistake of ours
	}
	return text
}

// parentTask is the task whose things a list has; nil for a list of all.
func parentTask(in any) *uuid.UUID {
	if l, within := in.(*listingIn); within {
		return &l.ID
	}
	return nil
}

// listAsOf is a page of a list as it was at an instant.
func listAsOf[R, T any](ctx context.Context, a *api, noun *projections.Noun[T], row row[R, T], by projections.Actor, in *Sorted, of *uuid.UUID, at time.Time) (p page[R], mark projections.Mark, err error) {
	query, _ := url.ParseQuery(exchangeOf(ctx).query) // what cannot be read was refused
	for name := range query {
		if !slices.Contains([]string{"as_of", "limit", "cursor"}, name) {
			return p, mark, domain.InvalidField("/"+name, "goes not with as_of: a list of the past has all, the newest first")
		}
	}
	if of != nil {
		if _, mark, err = projections.Tasks.AsOf(ctx, a.Projections, by, *of, at); err != nil {
			return p, mark, err
		}
	}
	states, next, mark, err := noun.ListAsOf(ctx, a.Projections, by, of, in.page(), at)
	if err != nil {
		return p, mark, err
	}
	rows, err := row.asOf(ctx, by, states)
	p = paged(rows, in.Listing, func(R) (none projections.After) { return none }) // that is no longer than its limit
	if next != uuid.Nil {
		cursor := Cursor[projections.After]{After: projections.After{ID: next}, list: in.Cursor.list}.String()
		p.NextCursor = &cursor
	}
	return p, mark, err
}
