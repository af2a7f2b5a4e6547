package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// enterAsOwner makes a transaction the owner's: the role that owns the control schema, of which each installation on a
// server has one of its own, and which nobody logs in as. A database without that schema has none.
const enterAsOwner = `select set_config('search_path', $1, true),
	set_config('role', coalesce((select pg_catalog.pg_get_userbyid(nspowner) from pg_catalog.pg_namespace where nspname = 'kluis'), '(the owner of schema kluis)'), true)`

// closedError says that the login may not take a workspace's role. Postgres says so itself, so closing is in force at once and
// in every process.
type closedError struct {
	error
	gone bool // the connection that was refused is closed: see closesOn
}

func (closedError) Outage() Outage  { return Closed }
func (e closedError) Unwrap() error { return e.error }

// closed makes such an error of Postgres' refusal to take a role: it is nobody's to take, or, since the workspace was looked up, gone.
func closed(conn *pgx.Conn, err error) error {
	if Is(err, AccessDenied, NoSuchRole) {
		return closedError{fmt.Errorf("the workspace is closed: %w", err), conn.IsClosed()}
	}
	return err
}

// Shut is the error of a workspace that is closed, whatever else was said of it.
func Shut(err error) error {
	return closedError{error: errors.Join(errors.New("the workspace is closed"), err)}
}

// Stay has a workspace stay as it is until the end of a transaction of the owner: a migration, a move and an erasure wait for that, since
// each of them locks the workspace's row of the directory for itself. The error is that of Shut for a workspace that moved away, is being
// erased, or was.
func Stay(ctx context.Context, tx pgx.Tx, w Workspace) error {
	var here bool
	err := tx.QueryRow(ctx, `select status not in ('erasing', 'erased', 'moved') from kluis.workspace where id = $1 for share`, w.ID).Scan(&here)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && !here:
		return Shut(nil)
	case err != nil:
		return fmt.Errorf("have workspace %s stay as it is: %w", w.ID, err)
	}
	return nil
}

// Cross runs fn as a workspace in the middle of a transaction of the login, which it leaves the login's again. When fn
// fails, the transaction is to be rolled back. It is for what has to be one transaction in both; everything else goes
// through Do, Read and In.
func Cross(ctx context.Context, tx pgx.Tx, w Workspace, fn func() error) error {
	if _, err := tx.Exec(ctx, enter, w.Schema(), onlyIn(w.Schema())); err != nil {
		return fmt.Errorf("become workspace %s: %w", w.ID, closed(tx.Conn(), err))
	}
	if err := fn(); err != nil {
		return err
	}
	back := &pgx.Batch{} // without set_config, which only the login may call
	back.Queue(`set local role none`)
	back.Queue(`set local search_path = pg_catalog, pg_temp`)
	if err := tx.SendBatch(ctx, back).Close(); err != nil {
		return fmt.Errorf("become the login again: %w", err)
	}
	return nil
}

// BecomeOwner makes the rest of a transaction of Admin the owner's, with one or more schemas, or none, on the search_path.
func BecomeOwner(ctx context.Context, tx pgx.Tx, path string) error {
	if _, err := tx.Exec(ctx, enterAsOwner, onlyIn(path)); err != nil {
		return fmt.Errorf("become the owner: %w", err)
	}
	return nil
}

// Owner is the name of the owner's role. tx is anybody's.
func Owner(ctx context.Context, tx pgx.Tx) (name string, err error) {
	err = tx.QueryRow(ctx, `select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'kluis'`).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("look up the owner of schema kluis: %w", err)
	}
	return name, nil
}

// CreateSchema makes a schema of the owner's, unless it is there, in a transaction of Admin: only a login may make schemas.
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
