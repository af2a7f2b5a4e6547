package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// The lines of migrations that begin with "grant" or "revoke" are the only place that says who may do what in the database. They are run again
// when a grant is missing, as after a restore.

// access returns those lines of some migrations. They may be run any number of times.
func access(migrations []migration, login, role string) string {
	var sql strings.Builder
	for _, m := range migrations {
		for text := range strings.Lines(m.sql) {
			if strings.HasPrefix(text, "grant ") || strings.HasPrefix(text, "revoke ") {
				sql.WriteString(text)
			}
		}
	}
	return strings.NewReplacer(":login", login, ":role", role).Replace(sql.String())
}

// beforeControl is what the login is granted before the first migration of the control schema.
func beforeControl(login string) string {
	return "grant usage on schema kluis to " + login + "; grant select on kluis.migration to " + login + ";"
}

// healControl repeats the grants of the control schema when the login or the group of workspaces lacks them.
func (t *Tenancy) healControl(ctx context.Context) error {
	return t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		owner, err := pg.Owner(ctx, tx)
		if err != nil {
			return err
		}
		var lacks bool
		err = tx.QueryRow(ctx, `select coalesce(not (has_schema_privilege($1, 'kluis', 'USAGE') and has_schema_privilege($2, 'kluis', 'USAGE')
			and has_table_privilege($1, to_regclass('kluis.migration'), 'SELECT')), false)
			from to_regclass('kluis.signal') as made where made is not null`, t.db.Login(), groupOf(owner)).Scan(&lacks)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !lacks {
			return nil // there is nothing yet, or nothing is missing
		}
		if err != nil {
			return fmt.Errorf("look up the grants of the control schema: %w", err)
		}
		var version int
		if err := tx.QueryRow(ctx, `select version from migration`).Scan(&version); err != nil {
			return err
		}
		known := t.controlMigrations[:min(version, len(t.controlMigrations))]
		//sqlcheck:allow names that we quoted, and lines of migrations
		if _, err := tx.Exec(ctx, beforeControl(t.login())+access(known, t.login(), pgx.Identifier{groupOf(owner)}.Sanitize())); err != nil {
			return fmt.Errorf("repeat the grants of the control schema: %w", err)
		}
		return nil
	})
}

// grantAgain gives a workspace its grants again, and the group of workspaces those in the control schema. The transaction is the owner's.
func (t *Tenancy) grantAgain(ctx context.Context, tx pgx.Tx, w pg.Workspace) error {
	if err := lock(ctx, tx); err != nil {
		return err
	}
	owner, err := pg.Owner(ctx, tx)
	if err != nil {
		return err
	}
	//sqlcheck:allow names that we made or quoted, and lines of migrations
	_, err = tx.Exec(ctx, `grant usage on schema `+w.Schema()+` to `+w.Schema()+`;`+access(t.workspaceMigrations, t.login(), w.Schema())+
		`set local search_path = kluis, pg_temp;`+beforeControl(t.login())+access(t.controlMigrations, t.login(), pgx.Identifier{groupOf(owner)}.Sanitize()))
	if err != nil {
		return fmt.Errorf("grant again what it lacks: %w", err)
	}
	return nil
}

// selectLacking finds the workspaces whose role, membership in the group $1, or schema's grant is missing, or whose role the login $2 may not take. With
// $3 it finds all of them. With $4 it also finds those whose role may not read one of its tables: it reads pg_class in whole for that, which has no index by
// schema.
const selectLacking = `with bare as (select distinct c.relnamespace as schema from pg_class c
		join pg_namespace n on n.oid = c.relnamespace left join pg_roles r on r.rolname = n.nspname
		where n.nspname ~ '^ws_[0-9a-f]{32}$' and c.relkind = 'r' and c.relowner = n.nspowner
			and not coalesce(c.relacl @> makeaclitem(r.oid, c.relowner, 'SELECT', false), false)),
	member as (select m.member as role from pg_auth_members m join pg_roles g on g.oid = m.roleid where g.rolname = $1)
	select ` + columns + ` from workspace w
	left join pg_roles r on r.rolname = 'ws_' || replace(w.id::text, '-', '') left join pg_namespace n on n.nspname = 'ws_' || replace(w.id::text, '-', '')
	where w.status not in ('erased', 'erasing', 'arriving', 'moved') and ($3 or r.oid is null or r.oid not in (select role from member) or $4 and n.oid in (select schema from bare)
		or w.status = 'active' and not pg_has_role($2, r.oid, ` + mayTake + `)
		or not exists (select from aclexplode(n.nspacl) a where a.grantee = r.oid))`

// Heal gives every workspace its role, memberships and grants, whether it lacks some or not.
func (t *Tenancy) Heal(ctx context.Context) error { return t.heal(ctx, true, true) }

// heal gives workspaces their roles, memberships and grants again, as after a restore without them: all workspaces, or those that lack
// some, which one query finds. Without tables it does not look for what only single tables lack: Admit sees to that when it is missed.
func (t *Tenancy) heal(ctx context.Context, all, tables bool) error {
	var lacking []Entry
	err := t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		owner, err := pg.Owner(ctx, tx)
		if err != nil {
			return err
		}
		// Postgres expects one schema where there are thousands: with nested loops it would read pg_class once for each.
		if _, err := tx.Exec(ctx, `set local enable_nestloop = off`); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, selectLacking, groupOf(owner), t.db.Login(), all, tables)
		lacking, err = pgx.CollectRows(rows, pgx.RowToStructByName[Entry])
		return err
	})
	if err != nil {
		return fmt.Errorf("find the workspaces that lack roles or grants: %w", foreign(err))
	}
	var group errgroup.Group
	group.SetLimit(4)
	for _, entry := range lacking {
		group.Go(func() error {
			err := t.db.Admin(ctx, func(tx pgx.Tx) error { return t.grant(ctx, tx, entry) })
			if err != nil {
				return fmt.Errorf("give workspace %s its role and grants again: %w", entry.ID, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// grant makes the role of a workspace, unless it exists, and grants what it and the login need. It leaves the transaction the owner's, with
// the workspace's schema on the search_path.
func (t *Tenancy) grant(ctx context.Context, tx pgx.Tx, e Entry) error {
	name, err := t.makeRole(ctx, tx, e)
	if err != nil {
		return err
	}
	if err := pg.BecomeOwner(ctx, tx, name); err != nil {
		return err
	}
	known := t.workspaceMigrations[:min(e.Version, len(t.workspaceMigrations))]
	//sqlcheck:allow names that we made or quoted, and lines of migrations
	_, err = tx.Exec(ctx, `grant usage on schema `+name+` to `+name+`;`+access(known, t.login(), name))
	return err
}

// makeRole makes the role of a workspace, unless it exists, and lets the login take it if the workspace is active.
func (t *Tenancy) makeRole(ctx context.Context, tx pgx.Tx, e Entry) (name string, err error) {
	name = e.Workspace().Schema() // "ws_" and hexadecimal digits of the id
	owner, err := pg.Owner(ctx, tx)
	if err != nil {
		return "", err
	}
	var there bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, name).Scan(&there); err != nil {
		return "", err
	}
	sql := "grant " + pgx.Identifier{groupOf(owner)}.Sanitize() + " to " + name
	if !there {
		sql = "create role " + name + " nologin; " + sql
	}
	if e.Status == active {
		sql += "; grant " + name + " to " + t.login()
	}
	//sqlcheck:allow names that we made or quoted
	if _, err := tx.Exec(ctx, sql); err != nil {
		return "", fmt.Errorf("make the role %s: %w", name, err)
	}
	return name, nil
}
