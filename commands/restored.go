package commands

import (
	"context"
	"fmt"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Restored begins a new epoch of a workspace's log after a backup was put back. It ends everything that may have ended since the backup was made:
// sessions, API tokens, codes, second factors that were only proposed, and reactions to events (mails). An event tells of it, in the same transaction.
//
// Passwords, roles and members are those of the backup. Later changes are lost, so the operator of Kluis has to look at what was changed since.
func Restored(ctx context.Context, db *pg.DB, store *eventstore.Store, w pg.Workspace) (done domain.WorkspaceRestored, err error) {
	err = db.InAsOwner(ctx, w, func(tx *pg.Tx) error {
		err := tx.Run(ctx,
			// The head may have the time of a clock that was ahead. The times of the new epoch come from the database.
			pg.Exec(`update head set epoch = epoch + 1, at = least(at, clock_timestamp()) returning epoch`).Scan(&done.Epoch),
			pg.Exec(`with ended as (delete from session returning 1) select count(*) from ended`).Scan(&done.Sessions),
			pg.Exec(`with ended as (delete from token_secret returning 1) select count(*) from ended`).Scan(&done.Tokens),
			pg.Exec(`with invited as (delete from invitation returning 1), forgotten as (delete from password_reset returning 1)
				select (select count(*) from invited) + (select count(*) from forgotten)`).Scan(&done.Codes),
			pg.Exec(`with used as (delete from recovery_code returning 1), proposed as (delete from two_factor where confirmed_at is null returning 1)
				select (select count(*) from used) + (select count(*) from proposed)`).Scan(&done.RecoveryCodes),
			pg.Exec(`update reaction set position = greatest(reaction.position, head.position) from head`),
		)
		if err != nil {
			return fmt.Errorf("end what the backup brought back: %w", err)
		}
		return appendEpoch(ctx, tx, store, w, done)
	})
	return done, err
}

// appendEpoch appends the event that begins a new epoch.
func appendEpoch(ctx context.Context, tx *pg.Tx, store *eventstore.Store, w pg.Workspace, begun domain.WorkspaceRestored) error {
	write, err := encode(domain.WorkspaceStream(w.ID), eventstore.Any, []domain.Event{begun}, nil)
	if err != nil {
		return err
	}
	_, err = store.AppendIn(ctx, tx.Run, w, eventstore.Append{Writes: []eventstore.Write{write}})
	return err
}

// WentBack begins a new epoch of a log that went back while Kluis was running, unless another process has begun it: an asynchronous standby became the
// primary, and lacks the last commits. Sessions and tokens go on. A session that ended in those last moments is alive again, and passwords and roles are
// those from before. The caller logs this for the operator of Kluis.
func WentBack(ctx context.Context, db *pg.DB, store *eventstore.Store, w pg.Workspace, lost *eventstore.WentBackError) error {
	return db.InAsOwner(ctx, w, func(tx *pg.Tx) error {
		var begun []int
		err := tx.Run(ctx, pg.Column(&begun, `update head set epoch = epoch + 1 where epoch = $1 returning epoch`, lost.Epoch),
			pg.Exec(`update reaction set position = greatest(reaction.position, head.position) from head`))
		if err != nil || len(begun) == 0 {
			return err
		}
		return appendEpoch(ctx, tx, store, w, domain.WorkspaceRestored{Epoch: begun[0]})
	})
}
