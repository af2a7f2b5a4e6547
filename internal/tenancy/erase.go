package tenancy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// These are the parts of the erasure of a workspace that concern Postgres. Each may be done any number of times, and goes on where it was
// broken off. commands/workspace_erase_run.go has their order.

// BeginErasure closes a workspace for good: no login may take its role, and nobody may append.
//
//  1. The row of the directory is locked, so that no move closes the workspace at the same time.
//  2. The head of the log is locked, so that still sees every event that there will ever be.
//  3. When still returns false, or the workspace has moved, the transaction is rolled back: begun is false, and the workspace stays open.
func (t *Tenancy) BeginErasure(ctx context.Context, w pg.Workspace, still func(tx pgx.Tx) (bool, error)) (begun bool, err error) {
	name := w.Schema()
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, name).Scan(&there); err != nil {
			return err
		}
		if there {
			//sqlcheck:allow a name made of the workspace's id, and a quoted one
			if _, err := tx.Exec(ctx, `revoke `+name+` from `+t.login()); err != nil {
				return err
			}
		}
		if err := pg.BecomeOwner(ctx, tx, name); err != nil {
			return err
		}
		var status string
		err := tx.QueryRow(ctx, `select status from kluis.workspace where id = $1 for update`, w.ID).Scan(&status)
		if errors.Is(err, pgx.ErrNoRows) || status == moved || status == arriving {
			return errKept(nil)
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select from head for update`); err != nil {
			return err
		}
		if begun, err = still(tx); err != nil || !begun {
			return errKept(err)
		}
		if there {
			//sqlcheck:allow a name made of the workspace's id
			if _, err := tx.Exec(ctx, `revoke insert on event from `+name); err != nil {
				return err
			}
		}
		if err := allMayRead(ctx, tx, name, false); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update kluis.workspace set status = 'erasing' where id = $1 and status <> 'erased'`, w.ID)
		return err
	})
	t.fleet.current.Delete(w.ID)
	if errors.Is(err, kept{}) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("close workspace %s: %w", w.ID, err)
	}
	return true, nil
}

// kept rolls BeginErasure back.
type kept struct{}

func (kept) Error() string { return "it is to be kept" }

func errKept(err error) error {
	if err == nil {
		err = kept{}
	}
	return err
}

// CountRows counts the rows of each table of a closed workspace, without empty tables.
func (t *Tenancy) CountRows(ctx context.Context, w pg.Workspace) (map[string]int64, error) {
	rows := map[string]int64{}
	err := t.db.Own(ctx, w.Schema(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local statement_timeout = 0`); err != nil {
			return err
		}
		tables, err := tablesOf(ctx, tx, w.Schema())
		for _, table := range tables {
			var n int64
			//sqlcheck:allow a name that Postgres quoted
			if err := tx.QueryRow(ctx, `select count(*) from `+table).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				rows[strings.Trim(table[strings.IndexByte(table, '.')+1:], `"`)] = n
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count the rows of workspace %s: %w", w.ID, err)
	}
	return rows, nil
}

// tablesOf returns the tables of a schema as quoted, qualified names.
func tablesOf(ctx context.Context, tx pgx.Tx, schema string) ([]string, error) {
	rows, _ := tx.Query(ctx, `select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relkind in ('r', 'p') order by c.relname`, schema)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// DropOfControl deletes the rows that the control schema has of a workspace, except its row in the directory and the note of its erasure. It
// returns the numbers of rows by table.
func (t *Tenancy) DropOfControl(ctx context.Context, w pg.Workspace) (dropped map[string]int64, err error) {
	err = t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		dropped, err = dropOfControl(ctx, tx, w, "erasure")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("delete what the control schema has of workspace %s: %w", w.ID, err)
	}
	return dropped, nil
}

// dropOfControl is DropOfControl in a transaction of the owner. keep names tables to leave alone.
func dropOfControl(ctx context.Context, tx pgx.Tx, w pg.Workspace, keep ...string) (map[string]int64, error) {
	dropped := map[string]int64{}
	tables, err := ControlTables(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, table := range append(tables, "signal") {
		if slices.Contains(keep, table) {
			continue
		}
		//sqlcheck:allow a name that Postgres quoted
		tag, err := tx.Exec(ctx, `delete from `+table+` where workspace_id = $1`, w.ID)
		if err != nil {
			return nil, err
		}
		dropped[table] = tag.RowsAffected()
	}
	return dropped, nil
}

// DropAnalysts drops the logins of a workspace's analysts, and its states with theirs. It returns the number of analysts.
func (t *Tenancy) DropAnalysts(ctx context.Context, w pg.Workspace) (n int, err error) {
	if err := t.dropStatesOf(ctx, w); err != nil {
		return 0, err
	}
	all, err := t.Analysts(ctx)
	for _, a := range all {
		if err == nil && strings.HasPrefix(a.Login, w.Schema()+"_") {
			n++
			err = t.RevokeAnalyst(ctx, a.Login)
		}
	}
	return n, err
}

// tablesAtOnce is how many tables are dropped in one transaction. Each takes locks for itself, its indexes and what depends on it, and Postgres
// has room for a fixed number of locks (max_locks_per_transaction).
const tablesAtOnce = 3

// DropSchemas drops the schemas of a workspace, and those of its views, shadows and states, some tables at a time. It returns the number of
// tables. Another process may drop some of them meanwhile, or make a shadow or a state: so DropSchemas looks again until none is left.
func (t *Tenancy) DropSchemas(ctx context.Context, w pg.Workspace) (n int, err error) {
	for err == nil {
		schema, left, looked := t.schemaOf(ctx, w)
		if looked == nil && !left {
			return n, nil
		}
		if err = looked; err == nil {
			err = t.retryLocked(ctx, func() error { return t.dropSome(ctx, schema, &n) })
		}
	}
	return n, fmt.Errorf("drop the schemas of workspace %s: %w", w.ID, err)
}

// schemaOf returns a schema that is left of a workspace, its own as the last one.
func (t *Tenancy) schemaOf(ctx context.Context, w pg.Workspace) (schema string, left bool, err error) {
	err = t.db.Own(ctx, "", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select nspname::text from pg_namespace where nspname = $1 or starts_with(nspname, $1 || '_') order by length(nspname) desc, nspname limit 1`, w.Schema()).Scan(&schema)
		left = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return schema, left, err
}

// dropSome drops some tables of a schema or, when it has none, the schema. It adds the number of tables to n.
func (t *Tenancy) dropSome(ctx context.Context, schema string, n *int) error {
	return t.db.Own(ctx, "", func(tx pgx.Tx) error {
		tables, err := tablesOf(ctx, tx, schema)
		if err != nil {
			return err
		}
		if len(tables) == 0 {
			//sqlcheck:allow a name made of the workspace's id
			_, err := tx.Exec(ctx, `drop schema if exists `+schema+` cascade`)
			return err
		}
		tables = tables[:min(tablesAtOnce, len(tables))]
		//sqlcheck:allow names that Postgres quoted
		if _, err := tx.Exec(ctx, `drop table if exists `+strings.Join(tables, ", ")+` cascade`); err != nil {
			return err
		}
		*n += len(tables)
		return nil
	})
}

// DropRole drops the role of a workspace, unless another database of the same server has something of that role's.
func (t *Tenancy) DropRole(ctx context.Context, w pg.Workspace) error {
	err := t.db.Admin(ctx, func(tx pgx.Tx) error {
		//sqlcheck:allow a name made of the workspace's id
		_, err := tx.Exec(ctx, `drop role if exists `+w.Schema())
		return err
	})
	if err != nil && !pg.Is(err, dependedOn) {
		return fmt.Errorf("drop the role of workspace %s: %w", w.ID, err)
	}
	return nil
}

// dependedOn is the SQLSTATE of dropping a role that still owns something, or is granted something.
const dependedOn = "2BP01"

// EndErasure leaves of a workspace what keeps its id and slug from being used again, and the certificate of its erasure. It comes last:
// until then the directory finds the workspace by its slug, so that a broken-off erasure can go on.
func (t *Tenancy) EndErasure(ctx context.Context, w pg.Workspace, certificate []byte) error {
	return t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `with buried as (update workspace set status = 'erased', version = 0, hashes = '{}', failure = null, shape = 0 where id = $1)
			update erasure set certificate = $2 where workspace_id = $1`, w.ID, string(certificate))
		return err
	})
}

// Erased returns the workspaces that were erased since a moment.
func (t *Tenancy) Erased(ctx context.Context, since time.Time) (erased []pg.Workspace, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select workspace_id from kluis.erasure where certificate is not null and due_at > $1`, since)
		ids, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pg.Workspace])
		erased = ids
		return err
	})
	return erased, err
}
