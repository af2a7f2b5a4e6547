package projections

import (
	"context"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// AsOf answers with a thing as it was at a moment. Whether the actor may see it is decided on the thing as it is now.
func (n *Noun[T]) AsOf(ctx context.Context, p *Projections, by Actor, id uuid.UUID, at time.Time) (state T, mark Mark, err error) {
	if _, mark, err = n.GetGone(ctx, p, by, id); err != nil {
		return state, mark, err
	}
	stories, head, err := n.stories(ctx, p, by.Workspace, []uuid.UUID{id}, mark.Position, &at) // no further than what the caller may see was decided on
	state = stories[id].end(n.Model)
	if err == nil {
		err = sinceHorizon(head, &at)
	}
	if err == nil && (n.ID(state) == uuid.Nil || gone(state)) {
		err = domain.Missing(n.name)
	}
	if err == nil {
		state, err = n.Show(ctx, p, by, state, &at)
	}
	return state, mark, err
}

// All answers with all things of one stream that the actor may see, or saw, as they are, or as they were at a moment. Which of them the actor
// may see is decided on the things as they are now. For a moment it folds what the stream has until then, which in the roster is some events
// for each member that there ever was.
func (n *Noun[T]) All(ctx context.Context, p *Projections, by Actor, at *time.Time) (things []T, mark Mark, err error) {
	args := n.sight.scopes(by)
	mark, err = p.Fresh(ctx, by.Workspace, pg.Rows(&things, n.all, args...)) //sqlcheck:allow made once, of constants
	if err == nil && mark.Behind() > 0 && narrow(args) {
		err = catchingUp(mark)
	}
	if err != nil || at == nil {
		return things, mark, err
	}
	states, err := n.statesAt(ctx, p, by.Workspace, mark.Position, *at)
	var then []T
	for _, thing := range things {
		if state, was := states[n.ID(thing)]; was {
			then = append(then, state)
		}
	}
	return then, mark, err
}

// statesAt are the states of all things of one stream at a moment, and no later than at a position.
func (n *Noun[T]) statesAt(ctx context.Context, p *Projections, w pg.Workspace, upTo int64, at time.Time) (map[uuid.UUID]T, error) {
	var stored []eventstore.Record
	var pruned []eventstore.Baseline
	var head eventstore.Head
	if err := p.db.Read(ctx, w, eventstore.LookHead(&head), eventstore.Baselines(&pruned, n.name), eventstore.Streams(&stored, []string{n.stream(uuid.Nil)}, nil, upTo, &at)); err != nil {
		return nil, err
	}
	if err := sinceHorizon(head, &at); err != nil {
		return nil, err
	}
	states := map[uuid.UUID]T{}
	for _, b := range pruned {
		state, err := n.stateOf(b)
		if err != nil {
			return nil, err
		}
		states[b.ID] = state
	}
	records, err := Decode(stored)
	for _, r := range records {
		if id, changes := n.rowOf(r); changes {
			state := states[id]
			n.apply(&state, r)
			states[id] = state
		}
	}
	return states, err
}

// gone tells whether a thing is no more.
func gone[T any](state T) bool {
	if g, says := any(state).(interface{ Gone() bool }); says {
		return g.Gone()
	}
	at := field[T]("deleted_at")
	return at >= 0 && !reflect.ValueOf(state).Field(at).IsNil()
}
