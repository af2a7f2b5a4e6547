package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// reactions are all reactions to events.
var reactions = []reaction{
	on((*Jobs).inviteMember),
	on((*Jobs).inviteMemberAgain),
	on((*Jobs).eraseMember),
	on((*Jobs).planErasure),
	on((*Jobs).hastenErasure),
	on((*Jobs).cancelErasure),
	onThing("import", (*Jobs).queueImport),
	on((*Jobs).changePlan),
	onThing("receiver", (*Jobs).receiverResumed),
	onThing("receiver", (*Jobs).receiverUpdated),
	onThing("receiver", (*Jobs).receiverReplayed),
	onThing("receiver", (*Jobs).receiverStopped),
	on((*Jobs).queueExport),
}

// reaction is what an event of one type sets off. It runs in the transaction that notes that it has run. That is the login's, for
// [pg.AsWorkspace]. What it does outside of that transaction may happen twice.
type reaction struct {
	event string
	run   func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, stream string, event domain.Event) error
}

func on[E domain.Event](run func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, event E) error) reaction {
	var zero E
	return reaction{domain.TypeOf(zero), func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, _ string, event domain.Event) error {
		return run(j, ctx, tx, w, event.(E))
	}}
}

// onThing is on for an event of a thing whose id is in the name of the stream, as "<kind>-<id>".
func onThing[E domain.Event](kind string, run func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, id uuid.UUID, event E) error) reaction {
	var zero E
	return reaction{domain.TypeOf(zero), func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, stream string, event domain.Event) error {
		id, _ := domain.StreamID(kind, stream)
		return run(j, ctx, tx, w, id, event.(E))
	}}
}

// react runs the reactions of a workspace, in order, to all events up to a signal, or up to the head when that comes first. When a reaction
// fails, the later events of the same workspace wait.
func (j *Jobs) react(ctx context.Context, s eventstore.Signal) error {
	var types []string
	for _, r := range j.reactions {
		types = append(types, r.event)
	}
	for {
		var receivers []uuid.UUID
		position, head, err := j.pass(ctx, s.Workspace, types, projections.ActiveReceivers(&receivers))
		if err != nil {
			return fmt.Errorf("pass the events of workspace %s: %w", s.Workspace.ID, err)
		}
		if position >= min(s.Position, head) {
			return j.pushReceivers(ctx, s.Workspace, receivers)
		}
		if err := j.reactNext(ctx, s.Workspace, types); err != nil {
			return fmt.Errorf("react in workspace %s behind position %d: %w", s.Workspace.ID, position, err)
		}
		select {
		case j.queued <- struct{}{}: // it may have queued work
		default:
		}
	}
}

// pass moves the reaction row to the head when no event up to there sets off anything, which is nearly always the case. It is one round
// trip, which also runs the statements in also. It returns the positions of the row and of the head.
func (j *Jobs) pass(ctx context.Context, w pg.Workspace, types []string, also ...pg.Statement) (position, head int64, err error) {
	err = j.DB.Do(ctx, w, append(also,
		pg.Exec(`update reaction set position = head.position from head
			where head.position > reaction.position and not exists (select from event
				where event.position > reaction.position and event.position <= head.position and type = any($1))`, types),
		pg.Exec(`select reaction.position, head.position from reaction, head`).Scan(&position, &head))...)
	return position, head, err
}

// reactNext reacts to the next event that sets off something. So that each event is reacted to once, however many processes try:
//
//  1. The reaction row is locked.
//  2. The next event behind its position is read.
//  3. The reaction runs, and the row moves to the event.
//  4. One commit stores both, and ends the lock.
func (j *Jobs) reactNext(ctx context.Context, w pg.Workspace, types []string) error {
	return j.DB.Control(ctx, func(tx pgx.Tx) error {
		var position int64
		var stream string
		var event domain.Event
		err := pg.AsWorkspace(ctx, tx, w, func() (err error) {
			position, stream, event, err = next(ctx, tx, types)
			return err
		})
		if err != nil || event == nil {
			return err
		}
		for _, r := range j.reactions {
			if r.event != domain.TypeOf(event) {
				continue
			}
			if err := r.run(j, ctx, tx, w, stream, event); err != nil {
				return fmt.Errorf("react to %s at position %d: %w", r.event, position, err)
			}
		}
		return pg.AsWorkspace(ctx, tx, w, func() error {
			if _, err := tx.Exec(ctx, `update reaction set position = $1`, position); err != nil {
				return fmt.Errorf("move the reactions to position %d: %w", position, err)
			}
			return nil
		})
	})
}

// next locks the reaction row and reads the event to react to; nil when another process has reacted to it.
func next(ctx context.Context, tx pgx.Tx, types []string) (position int64, stream string, event domain.Event, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`set local lock_timeout = '10s'`)
	batch.Queue(`select position from reaction for update`).QueryRow(func(row pgx.Row) error { return row.Scan(&position) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return 0, "", nil, fmt.Errorf("lock the reactions: %w", err)
	}
	var eventType string
	var data json.RawMessage
	err = tx.QueryRow(ctx, `select position, stream, type, data from event where position > $1 and type = any($2) order by position limit 1`,
		position, types).Scan(&position, &stream, &eventType, &data)
	if errors.Is(err, pgx.ErrNoRows) {
		return position, "", nil, nil
	}
	if err != nil {
		return 0, "", nil, fmt.Errorf("find the event behind position %d: %w", position, err)
	}
	event, err = domain.Decode(eventType, data)
	return position, stream, event, err
}
