package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// enterAsOwner makes a transaction the owner's. The owner is the role that owns the control schema. Each installation on a server has an owner of
// its own, and nobody logs in as one. A database without that schema has no owner.
const enterAsOwner = `select set_config('search_path', $1, true),
	set_config('role', coalesce((select pg_catalog.pg_get_userbyid(nspowner) from pg_catalog.pg_namespace where nspname = 'kluis'), '(the owner of schema kluis)'), true)`

// closedError says that the login may not take a workspace's role. Postgres itself refuses it, so closing a workspace is in force at once, and
// in every process.
type closedError struct {
	error
	outdated bool // the process of Postgres was, and the connection has been closed
}

func (closedError) Outage() Outage  { return Closed }
func (e closedError) Unwrap() error { return e.error }

// NewClosedError returns the error of a closed workspace. err is what else is known of it, or nil.
func NewClosedError(err error) error {
	return closedError{error: errors.Join(errors.New("the workspace is closed"), err)}
}

// LockStatus locks the row of a workspace in the directory, so that its status stays as it is until tx ends. A migration, a move and an erasure
// wait for that, since each of them locks the row for itself. The error is that of NewClosedError for a workspace that has moved away, is
// being erased, or was erased. tx is the owner's.
func LockStatus(ctx context.Context, tx pgx.Tx, w Workspace) error {
	var here bool
	err := tx.QueryRow(ctx, `select status not in ('erasing', 'erased', 'moved') from kluis.workspace where id = $1 for share`, w.ID).Scan(&here)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && !here:
		return NewClosedError(nil)
	case err != nil:
		return fmt.Errorf("lock the status of workspace %s: %w", w.ID, err)
	}
	return nil
}

// AsWorkspace runs fn as a workspace in the middle of a transaction of the login, and makes the transaction the login's again. When fn fails, the
// caller has to roll the transaction back. AsWorkspace is for changes of both that must be one transaction; everything else goes through Do,
// Read and In.
func AsWorkspace(ctx context.Context, tx pgx.Tx, w Workspace, fn func() error) error {
	if _, err := tx.Exec(ctx, enter, w.Schema(), onlyIn(w.Schema())); err != nil {
		return fmt.Errorf("become workspace %s: %w", w.ID, refused(ctx, tx.Conn(), w.Schema(), err))
	}
	if err := fn(); err != nil {
		return err
	}
	back := &pgx.Batch{} // of SET LOCAL, since only the login may call set_config
	back.Queue(becomeLogin)
	back.Queue(`set local search_path = pg_catalog, pg_temp`)
	if err := tx.SendBatch(ctx, back).Close(); err != nil {
		return fmt.Errorf("become the login again: %w", err)
	}
	return nil
}

// BecomeOwner makes the rest of a transaction of Admin the owner's. path is the search_path, as in Own.
func BecomeOwner(ctx context.Context, tx pgx.Tx, path string) error {
	if _, err := tx.Exec(ctx, enterAsOwner, onlyIn(path)); err != nil {
		return fmt.Errorf("become the owner: %w", err)
	}
	return nil
}

// Owner returns the name of the owner's role. tx may be under any role.
func Owner(ctx context.Context, tx pgx.Tx) (name string, err error) {
	err = tx.QueryRow(ctx, `select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'kluis'`).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("look up the owner of schema kluis: %w", err)
	}
	return name, nil
}

// CreateSchema makes a schema of the owner's, unless it exists, in a transaction of Admin. The owner itself may make none: only a login may.
func CreateSchema(ctx context.Context, tx pgx.Tx, name string) error {
	owner, err := Owner(ctx, tx)
	if err != nil {
		return err
	}
	sql := "create schema if not exists " + pgx.Identifier{name}.Sanitize() + " authorization " + pgx.Identifier{owner}.Sanitize()
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("create schema %s (the login needs CREATE on the database): %w", name, err)
	}
	return nil
}
