package commands

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// decision is what a command on one noun decided.
type decision struct {
	events   []domain.Event
	version  int     // of a stream that the thing shares with others; only create uses it
	with     []write // to further streams, in the same append
	guarding []eventstore.Guard
	also     []pg.Statement // run in the transaction that stores the events
}

// create is every command that makes a thing which belongs to no other. The statements in also run before decide, in one round trip.
func create[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID,
	decide func(a *attempt) (decision, error), also ...pg.Statement,
) (Result[T], error) {
	var none T
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.begin(ctx, also...); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, p); err != nil {
			return plan{}, err
		}
		made, err := decide(a)
		return plan{stream: n.Stream(id), version: made.version, events: made.events, with: made.with, guarding: made.guarding, also: made.also}, err
	})
	return nounResult(ctx, c, r, n, none, done, err)
}

// createWithin is create for a thing that belongs to another one. The other thing must be there, and the caller must see it.
func createWithin[T, P any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID,
	within *projections.Noun[P], other uuid.UUID, decide func(a *attempt, within P) (decision, error), also ...pg.Statement,
) (Result[T], error) {
	var none T
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		row, err := load(ctx, a, within, other, also...)
		if err != nil {
			return plan{}, err
		}
		if row.Gone {
			return plan{}, domain.Missing(within.Name())
		}
		if err := allowOn(a.by, p, row.Reach); err != nil {
			return plan{}, err
		}
		made, err := decide(a, row.State)
		made.guarding = append(append(made.guarding, within.Guards(row, a.by, p)...), eventstore.Guard{Stream: within.Stream(other), Version: row.At})
		return plan{stream: n.Stream(id), events: made.events, with: made.with, guarding: made.guarding, also: made.also}, err
	})
	return nounResult(ctx, c, r, n, none, done, err)
}

// changeOne is every command on one thing. It checks that the thing is there, that the caller may change it, and that it is at the version
// that the caller saw. The statements in also run before decide, in one round trip; decide may read more.
func changeOne[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID,
	decide func(a *attempt, thing T) (decision, error), also ...pg.Statement,
) (Result[T], error) {
	return changeAny(ctx, c, r, n, p, id, false, decide, also...)
}

// changeGone is changeOne for a thing that may be deleted: to restore it, or to finish its deletion.
func changeGone[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID,
	decide func(a *attempt, thing T) (decision, error), also ...pg.Statement,
) (Result[T], error) {
	return changeAny(ctx, c, r, n, p, id, true, decide, also...)
}

func changeAny[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID, gone bool,
	decide func(a *attempt, thing T) (decision, error), also ...pg.Statement,
) (Result[T], error) {
	before := n.Called(id)
	done, err := c.change(ctx, r, func(a *attempt) (decided plan, err error) {
		before, decided, err = decideOn(ctx, a, r, n, p, id, gone, decide, also...)
		return decided, err
	})
	return nounResult(ctx, c, r, n, before, done, err)
}

// decideOn is one attempt at a command on one thing. before is the thing before the change.
func decideOn[T any](ctx context.Context, a *attempt, r Request, n *projections.Noun[T], p domain.Permission, id uuid.UUID, gone bool,
	decide func(a *attempt, thing T) (decision, error), also ...pg.Statement,
) (before T, _ plan, err error) {
	before = n.Called(id)
	row, err := load(ctx, a, n, id, also...)
	if err == nil && row.Gone && !gone {
		err = domain.Missing(n.Name())
	}
	if err == nil {
		err = allowOn(a.by, p, row.Reach)
	}
	if err != nil {
		return before, plan{}, err
	}
	before = row.State
	if err := r.match(projections.Version(before)); err != nil {
		return before, plan{}, err
	}
	made, err := decide(a, before)
	made.guarding = append(made.guarding, n.Guards(row, a.by, p)...)
	return before, plan{stream: n.Stream(id), version: row.At, events: made.events, with: made.with, guarding: made.guarding, also: made.also}, err
}

// nounResult gives the thing as a query showed it right after the command. A repeated command gets the same.
func nounResult[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], before T, done effect, err error) (Result[T], error) {
	made, err := result(ctx, c, r, n.Model, before, done, err)
	if err != nil {
		return made, err
	}
	var at *time.Time
	if n := len(done.records); n > 0 {
		at = &done.records[n-1].At
	}
	made.State, err = n.Show(ctx, c.Projections, r.By, made.State, at)
	return made, err
}

// stateOnly turns a rule that needs only the state of the thing into a decision.
func stateOnly[T any](decide func(T) ([]domain.Event, error)) func(*attempt, T) (decision, error) {
	return func(_ *attempt, thing T) (decision, error) {
		events, err := decide(thing)
		return decision{events: events}, err
	}
}

// load reads one thing for a decision, deleted or not. A thing that the caller may not see is not found.
func load[T any](ctx context.Context, a *attempt, n *projections.Noun[T], id uuid.UUID, also ...pg.Statement) (projections.Row[T], error) {
	var rows []projections.Row[T]
	if err := a.read(ctx, append(also, n.Load(&rows, a.by, id))...); err != nil {
		return projections.Row[T]{}, err
	}
	if len(rows) == 0 || !rows[0].Visible {
		return projections.Row[T]{}, domain.Missing(n.Name())
	}
	return rows[0], nil
}
