package pgtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sweep drops the databases whose holder is gone: left by runs that were killed. One program at a time does it, the
// others need not wait.
func (h *claim) sweep(ctx context.Context) error {
	if first, err := tryLock(ctx, h.conn, "sweep"); err != nil || !first {
		return err
	}
	defer unlock(ctx, h.conn, "sweep") //nolint:errcheck // ends with the connection at the latest
	rows, _ := h.conn.Query(ctx, `select datname::text from pg_database where starts_with(datname, $1)`, prefix)
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var holders []string
	for _, database := range databases {
		if holder := holderOf(database); !slices.Contains(holders, holder) && holder != h.self {
			holders = append(holders, holder)
		}
	}
	for _, holder := range holders {
		if err := h.dropIfFree(ctx, holder); err != nil {
			return err
		}
	}
	return h.sweepRoles(ctx)
}

// dropIfFree drops the databases of a holder that nobody holds.
func (h *claim) dropIfFree(ctx context.Context, holder string) error {
	free, err := tryLock(ctx, h.conn, holder)
	if err != nil || !free {
		return err
	}
	defer unlock(ctx, h.conn, holder) //nolint:errcheck // ends with the connection at the latest
	rows, _ := h.conn.Query(ctx, `select datname::text from pg_database where starts_with(datname, $1)`, prefix+holder+"_")
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		if err := drop(ctx, h.admin, database); err != nil {
			return err
		}
	}
	return nil
}

// release drops what this program has left, and the templates that nobody else uses.
func (h *claim) release(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, holder := range append(h.heldTemplates(), h.self) {
		errs = append(errs, unlockShared(ctx, h.conn, holder), h.dropIfFree(ctx, holder))
	}
	return errors.Join(errs...)
}

// drop drops a database, whoever is connected, and then the roles of workspaces and owners that are of no use without it.
func drop(ctx context.Context, admin, database string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connect to drop %s: %w", database, err)
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, `
		select distinct rolname::text from pg_shdepend join pg_roles on pg_roles.oid = refobjid
		where refclassid = 'pg_authid'::regclass and rolname ~ '^(ws_|kluis_owner|kluis_workspace)'
			and dbid = (select oid from pg_database where datname = $1)`, database)
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("roles of %s: %w", database, err)
	}
	if _, err := conn.Exec(ctx, `drop database if exists `+pgx.Identifier{database}.Sanitize()+` with (force)`); err != nil {
		return fmt.Errorf("drop %s: %w", database, err)
	}
	return dropRoles(ctx, conn, roles)
}

// dropRoles drops roles, but for those that have something in another database, such as the template that this
// one was cloned from.
func dropRoles(ctx context.Context, conn *pgx.Conn, roles []string) error {
	for _, role := range roles {
		_, err := conn.Exec(ctx, `drop role if exists `+pgx.Identifier{role}.Sanitize())
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && slices.Contains([]string{"2BP01", "42704", "XX000"}, refusal.Code) { // dependent objects; gone meanwhile, it or a database of them
			continue
		}
		if err != nil {
			return fmt.Errorf("drop role %s: %w", role, err)
		}
	}
	return nil
}

// sweepRoles drops the workspace roles that have nothing in any database: of runs killed between two statements. Only
// on a server of our own and while nobody else uses it, since a role may be somebody's who has just made it.
func (h *claim) sweepRoles(ctx context.Context) error {
	if h.server == nil {
		return nil
	}
	alone, err := tryLock(ctx, h.conn, "users")
	if err != nil {
		return err
	}
	if alone {
		rows, _ := h.conn.Query(ctx, `
			select rolname::text from pg_roles r where rolname ~ '^(ws_|kluis_owner|kluis_workspace)'
				and not exists (select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid)`)
		roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if err := errors.Join(dropRoles(ctx, h.conn, roles), unlock(ctx, h.conn, "users")); err != nil {
			return err
		}
	}
	return nil
}
