package projections

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// AsOf answers with the state of a thing at a moment. The present state decides whether the actor may see the thing.
func (n *Noun[T]) AsOf(ctx context.Context, p *Projections, by Actor, id uuid.UUID, at time.Time) (state T, mark Mark, err error) {
	if _, mark, err = n.GetGone(ctx, p, by, id); err != nil {
		return state, mark, err
	}
	states, err := n.statesAt(ctx, p, by, []uuid.UUID{id}, mark.Position, at)
	if err == nil && len(states) == 0 {
		err = domain.Missing(n.name)
	}
	if err != nil {
		return state, mark, err
	}
	return states[0], mark, nil
}

// lookedAt bounds the things that one answer looks at.
const lookedAt = 1000

// ListAsOf answers with the things that existed at a moment, the newest first, and with the id behind which the list goes on; none at the
// end. For a noun within another one, of is the id of the other thing. The present states decide which things the actor may see. A page may
// have fewer things than its limit before the end of the list, because some of the things that it looks at did not exist at that moment.
func (n *Noun[T]) ListAsOf(ctx context.Context, p *Projections, by Actor, of *uuid.UUID, page Page, at time.Time) (rows []T, next uuid.UUID, mark Mark, err error) {
	for after, looked := page.id(), 0; ; {
		var ids []uuid.UUID
		//sqlcheck:allow made once, of constants
		mark, err = p.Fresh(ctx, by.Workspace, pg.PlanEach(), pg.Column(&ids, n.were, append(n.sight.scopes(by), of, at, after, page.Limit+1)...))
		if err == nil && mark.Behind() > 0 && by.Scope(n.sight.Read) != domain.All {
			err = catchingUp(mark)
		}
		if err != nil {
			return nil, uuid.Nil, mark, err
		}
		there, err := n.statesAt(ctx, p, by, ids, mark.Position, at)
		rows, looked = append(rows, there...), looked+len(ids)
		switch {
		case err != nil || len(ids) <= page.Limit && len(rows) <= page.Limit:
			return rows, uuid.Nil, mark, err
		case len(rows) > page.Limit:
			return rows[:page.Limit], n.ID(rows[page.Limit-1]), mark, nil
		case looked >= lookedAt:
			return rows, ids[len(ids)-1], mark, nil
		}
		after = &ids[len(ids)-1]
	}
}

// wereThere is the query of ListAsOf: the ids of the things that the actor sees or saw, within the thing $4, that began by the moment $5, behind
// the id $6.
func (n *Noun[T]) wereThere() string {
	where := n.sight.showed("$1") + " and $2::uuid is not null and $3::text is not null and "
	if w := n.sight.Within; w != nil {
		where += w.key + " = $4::uuid"
	} else {
		where += "$4::uuid is null"
	}
	if prefix, own := strings.CutSuffix(n.stream(uuid.Nil), uuid.Nil.String()); own { // a stream for each thing
		where += " and not exists (select from event as begins where begins.stream = '" + prefix + "' || " + n.name + ".id::text and begins.version = 1 and begins.at > $5)"
	}
	return "select " + n.name + ".id" + n.from + " where " + where + " and $5::timestamptz is not null and ($6::uuid is null or " + n.name + ".id < $6) order by " + n.name + ".id desc limit $7"
}

// statesAt gives the states of some things at a moment, and at the latest at a position, as the actor would have seen them then. Things that
// did not exist then are left out. The order is that of ids.
func (n *Noun[T]) statesAt(ctx context.Context, p *Projections, by Actor, ids []uuid.UUID, upTo int64, at time.Time) (states []T, err error) {
	stories, head, err := n.stories(ctx, p, by.Workspace, ids, upTo, &at)
	if err == nil {
		err = sinceHorizon(head, &at)
	}
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if state := stories[id].end(n.Model); n.ID(state) != uuid.Nil && !isGone(state) {
			states = append(states, state)
		}
	}
	return states, n.showAll(ctx, p, by, states, &at)
}

// then gives the state at a moment of a thing that every member sees: the workspace, and its policy.
func (m *Model[T]) then(ctx context.Context, p *Projections, w pg.Workspace, id uuid.UUID, at time.Time) (state T, mark Mark, err error) {
	if mark, err = p.Fresh(ctx, w); err != nil {
		return state, mark, err
	}
	stories, head, err := m.stories(ctx, p, w, []uuid.UUID{id}, mark.Position, &at)
	if err == nil {
		err = sinceHorizon(head, &at)
	}
	return stories[id].end(m), mark, err
}

// All answers with all things that the actor sees or saw, in their present states or those of a moment. The present states decide which things
// the actor may see. All is for nouns with few things, because for a moment it folds the records of all of them.
func (n *Noun[T]) All(ctx context.Context, p *Projections, by Actor, at *time.Time) (things []T, mark Mark, err error) {
	args := n.sight.scopes(by)
	mark, err = p.Fresh(ctx, by.Workspace, pg.Rows(&things, n.all, args...)) //sqlcheck:allow made once, of constants
	if err == nil && mark.Behind() > 0 && isScoped(args) {
		err = catchingUp(mark)
	}
	if err != nil || at == nil {
		return things, mark, err
	}
	ids := make([]uuid.UUID, len(things))
	for i, thing := range things {
		ids[i] = n.ID(thing)
	}
	things, err = n.statesAt(ctx, p, by, ids, mark.Position, *at)
	return things, mark, err
}

// isGone tells whether a thing is deleted.
func isGone[T any](state T) bool {
	if g, says := any(state).(interface{ Gone() bool }); says {
		return g.Gone()
	}
	at := field[T]("deleted_at")
	return at >= 0 && !reflect.ValueOf(state).Field(at).IsNil()
}
