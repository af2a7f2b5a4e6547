package projections

import (
	"context"
	"reflect"
	"slices"
	"strings"
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

// ListAsOf answers with the things of one stream as they were at a moment, the newest first. Which of them the actor may see is decided on
// the things as they are now. It folds what the stream has until then, which in the roster is some events for each member that there ever was.
func (n *Noun[T]) ListAsOf(ctx context.Context, p *Projections, by Actor, page Page, at time.Time) (rows []T, mark Mark, err error) {
	var visible []uuid.UUID
	//sqlcheck:allow made once, of constants
	mark, err = p.Fresh(ctx, by.Workspace, pg.Column(&visible, n.reached, n.sight.scopes(by)...))
	if err == nil && mark.Behind() > 0 && by.Scope(n.sight.Read) != domain.All {
		err = catchingUp(mark)
	}
	if err != nil {
		return nil, mark, err
	}
	states, err := n.statesAt(ctx, p, by.Workspace, mark.Position, at)
	if err != nil {
		return nil, mark, err
	}
	for _, id := range visible {
		if state := states[id]; n.ID(state) != uuid.Nil && !gone(state) && (page.After == nil || id.String() < page.After.ID.String()) {
			rows = append(rows, state)
		}
	}
	slices.SortFunc(rows, func(a, b T) int { return strings.Compare(n.ID(b).String(), n.ID(a).String()) })
	return rows[:min(len(rows), page.Limit+1)], mark, nil
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
