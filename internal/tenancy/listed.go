package tenancy

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// When a database was restored from a backup, the home's list is compared with the directories of all cells. See commands/copy.go.

// Listed is the row of a workspace in the home's list.
type Listed struct {
	ID      uuid.UUID
	Slug    string
	Region  string
	Settled bool // its sign-up has succeeded
	Erased  bool
}

// Listed returns the home's list, or its row of one workspace. For all, only is uuid.Nil.
func (t *Tenancy) Listed(ctx context.Context, only uuid.UUID) (all []Listed, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select id, slug, region, settled, erased from kluis.place where id = $1 or $1::uuid = $2::uuid order by id`, only, uuid.Nil)
		all, err = pgx.CollectRows(rows, pgx.RowToStructByName[Listed])
		return err
	})
	return all, err
}

// Every returns the directory of this cell, or its row of one workspace, whatever the status. For all, only is uuid.Nil.
func (t *Tenancy) Every(ctx context.Context, only uuid.UUID) ([]Entry, error) {
	return t.query(ctx, `select `+columns+` from kluis.workspace where id = $1 or $1::uuid = $2::uuid order by id`, only, uuid.Nil)
}

// Traces tells whether this cell has anything of a workspace, found by its id or its slug. moving tells whether that is the part which an
// unfinished move has brought here, or has not yet taken away.
func (t *Tenancy) Traces(ctx context.Context, id uuid.UUID, slug string) (there, moving bool, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(status in ('arriving', 'moved')), false) from kluis.workspace where id = $1 or slug = $2`, id, slug).Scan(&there, &moving)
	})
	return there, moving, err
}

// Expects tells whether, by the home's list, there has to be a workspace with this id or slug: its sign-up has succeeded, and it was not erased.
func (t *Tenancy) Expects(ctx context.Context, id uuid.UUID, slug string) (there bool, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select exists (select from kluis.place where (id = $1 or slug = $2) and settled and not erased)`, id, slug).Scan(&there)
	})
	return there, err
}

// Heeded tells whether a workspace is in the directory, and whether this very database has heeded what happened outside of it: erasures and moves. A
// database that was restored, or that failed over, is another one, and has heeded nothing yet.
func (t *Tenancy) Heeded(ctx context.Context, w pg.Workspace) (there, heeded bool, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(heeded = kluis.incarnation()), false) from kluis.workspace where id = $1`, w.ID).Scan(&there, &heeded)
	})
	return there, heeded, err
}

// Heed notes that this database has heeded what happened to a workspace outside of it. It tells whether the workspace is here: it has not moved away.
func (t *Tenancy) Heed(ctx context.Context, w pg.Workspace) (here bool, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `with noted as (update kluis.workspace set heeded = kluis.incarnation() where id = $1 and status <> $2 and heeded is distinct from kluis.incarnation())
			select exists (select from kluis.workspace where id = $1 and status <> $2)`, w.ID, moved).Scan(&here)
	})
	return here, err
}

// Doubt takes the notes of Heed back, for all workspaces.
func (t *Tenancy) Doubt(ctx context.Context) error {
	return t.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.workspace set heeded = null`)
		return err
	})
}

// Reopen serves a workspace again that was marked as moved, or was closed, and of which this cell still has everything. heeded tells whether
// this database has heeded what happened outside of it.
func (t *Tenancy) Reopen(ctx context.Context, e Entry, region string, heeded bool) error {
	was := e.Status
	e.Status = active
	err := t.db.Admin(ctx, func(tx pgx.Tx) error {
		if err := t.grant(ctx, tx, e); err != nil {
			return err
		}
		if err := allMayRead(ctx, tx, e.Workspace().Schema(), true); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update kluis.workspace set status = $2, region = $3, heeded = case when $5 then kluis.incarnation() end where id = $1 and status = $4`, e.ID, active, region, was, heeded)
		if err == nil && tag.RowsAffected() == 0 {
			err = errors.New("its status changed meanwhile")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open workspace %q again: %w", e.Slug, err)
	}
	return nil
}

// ErrBusy says that a workspace is being moved, or that another process compares regions.
var ErrBusy = errors.New("a workspace is being moved to another region, or another process compares the regions: try again when that is done")

// LockPlaces keeps moves off while regions are compared, until tx ends, a transaction of the home. When patient, it waits up to 30 s for a move to
// end; otherwise, and after that, the error is ErrBusy.
func LockPlaces(ctx context.Context, tx pgx.Tx, patient bool) error {
	if patient {
		return lockPlaces(ctx, tx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('places'))`)
	}
	return lockOr(ctx, tx, `select pg_try_advisory_xact_lock(hashtext('kluis'), hashtext('places'))`, ErrBusy)
}

func lockPlaces(ctx context.Context, tx pgx.Tx, sql string) error {
	if _, err := tx.Exec(ctx, `set local statement_timeout = 0; set local lock_timeout = '30s'; set local idle_in_transaction_session_timeout = '1min'`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, sql) //sqlcheck:allow one of two above
	if pg.Is(err, pg.LockNotAvailable) {
		return ErrBusy
	}
	return err
}
