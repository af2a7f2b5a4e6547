package tenancy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Each installation on a server has an owner of its own, which owns its schemas and tables, and a group of its own of all
// workspaces' roles, which has what they may do in the control schema. The owner is whoever owns that schema; its name
// begins with ownerPrefix, and the group's with groupPrefix and ends alike.
const (
	ownerPrefix = "kluis_owner"
	groupPrefix = "kluis_workspace"
)

func groupOf(owner string) string { return groupPrefix + strings.TrimPrefix(owner, ownerPrefix) }

// bootstrap makes the roles and the control schema that everything else stands on. It changes nothing when they are there.
func (t *Tenancy) bootstrap(ctx context.Context) error {
	if err := t.checkLogins(ctx); err != nil {
		return err
	}
	var err error
	for try := range 20 {
		var stranger bool
		err = t.db.Admin(ctx, func(tx pgx.Tx) (err error) {
			stranger, err = t.found(ctx, tx, try)
			return err
		})
		if err == nil && stranger {
			err = t.adopt(ctx)
		}
		if !pg.Is(err, "42710", pg.UniqueViolation, "XX000") { // another installation made the role, or granted it, at the same moment
			break
		}
	}
	if err != nil {
		return err
	}
	return t.healControl(ctx)
}

// found makes what there is not, and tells whether the control schema is a stranger's: of whoever restored a dump.
func (t *Tenancy) found(ctx context.Context, tx pgx.Tx, try int) (stranger bool, err error) {
	if err := lock(ctx, tx); err != nil {
		return false, err
	}
	owner, err := pg.Owner(ctx, tx)
	if errors.Is(err, pgx.ErrNoRows) {
		if owner, err = newRoles(ctx, tx, try); err != nil {
			return false, err
		}
		//sqlcheck:allow a name that we made
		_, err := tx.Exec(ctx, `create schema kluis authorization `+owner)
		if err != nil {
			err = fmt.Errorf("create the control schema (the login needs CREATE on the database): %w", err)
		}
		return false, err
	}
	if err != nil || !strings.HasPrefix(owner, ownerPrefix) {
		return err == nil, err
	}
	return false, join(ctx, tx, owner)
}

// newRoles makes an owner and a group, and lets the login take the owner's part. The first installation of a server has the
// plain names.
func newRoles(ctx context.Context, tx pgx.Tx, try int) (owner string, err error) {
	var taken bool
	err = tx.QueryRow(ctx, `select exists (select from pg_roles where rolname in ($1, $2))`, ownerPrefix, groupPrefix).Scan(&taken)
	if err != nil {
		return "", err
	}
	owner = ownerPrefix
	if taken || try > 0 {
		owner += "_" + strings.ToLower(rand.Text()[:8])
	}
	//sqlcheck:allow names that we made
	_, err = tx.Exec(ctx, `create role `+owner+` nologin; create role `+groupOf(owner)+` nologin; grant `+owner+` to session_user`)
	if err != nil {
		return "", fmt.Errorf("make the roles %s and %s: %w", owner, groupOf(owner), err)
	}
	return owner, nil
}

// join makes the login a member of an owner that is there, when nothing else on the server is that owner's.
func join(ctx context.Context, tx pgx.Tx, owner string) error {
	var member, elsewhere, group bool
	err := tx.QueryRow(ctx, `select pg_has_role(session_user, r.oid, `+mayTake+`),
		exists (select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid
			and dbid not in (0, (select oid from pg_database where datname = current_database()))),
		exists (select from pg_roles where rolname = $2)
		from pg_roles r where rolname = $1`, owner, groupOf(owner)).Scan(&member, &elsewhere, &group)
	if err != nil {
		return fmt.Errorf("look up the owner %s: %w", owner, err)
	}
	if !group {
		//sqlcheck:allow the name is quoted
		if _, err := tx.Exec(ctx, `create role `+pgx.Identifier{groupOf(owner)}.Sanitize()+` nologin`); err != nil {
			return fmt.Errorf("make the role %s: %w", groupOf(owner), err)
		}
	}
	if member {
		return nil
	}
	if elsewhere {
		return fmt.Errorf("what is in this database belongs to the role %s, which another installation on this server has: "+
			"restore the dump on a server of its own, or without its roles", owner)
	}
	//sqlcheck:allow the name is quoted
	if _, err := tx.Exec(ctx, `grant `+pgx.Identifier{owner}.Sanitize()+` to session_user`); err != nil {
		return fmt.Errorf("the login is no member of the role %[1]s, which owns what is in this database: as a superuser, GRANT %[1]s TO the login: %[2]w", owner, err)
	}
	return nil
}

// mayTake is the privilege of a member who may take a role: membership alone, before Postgres 16.
const mayTake = `case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end`

// adopt gives everything that a stranger restored to an owner, schema by schema, the control schema last: broken off
// anywhere, the next start begins anew. See kluis.adopt in migrations/control.
func (t *Tenancy) adopt(ctx context.Context) error {
	var owner, stranger, admin string
	var schemas []string
	err := t.db.Admin(ctx, func(tx pgx.Tx) (err error) {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if stranger, err = pg.Owner(ctx, tx); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `select nspname::text from pg_namespace where nspname ~ '^(kluis|kluis_jobs|ws_[0-9a-f]{32}(_(shadow|state)_[0-9a-f]+|_views)?)$' order by nspname desc`)
		if schemas, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select session_user`).Scan(&admin); err != nil {
			return err
		}
		owner, err = newRoles(ctx, tx, 0)
		return err
	})
	if err != nil {
		return err
	}
	run := t.db.Control
	if stranger == admin { // it restored the dump, so what it gives away is its own
		run = t.db.Admin
	}
	for i, schema := range append(schemas, "kluis") {
		if schema == "kluis" && i < len(schemas) {
			continue // it is the last
		}
		err := run(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select kluis.adopt($1, $2)`, schema, owner)
			return err
		})
		if pg.Is(err, pg.AccessDenied, pg.NoSuchSchema, "42883") {
			return fmt.Errorf("what is in this database belongs to the role %s, as after a restore by it: as that role, run in this database "+
				"SELECT kluis.adopt(nspname, '%s') FROM pg_namespace WHERE nspname ~ '^(kluis|ws_)' ORDER BY nspname DESC, and start again: %w", stranger, owner, err)
		}
		if err != nil {
			return fmt.Errorf("take over schema %s of role %s: %w", schema, stranger, err)
		}
	}
	return nil
}

// lock lets one process at a time change what all processes share. It ends with the transaction.
func lock(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('tenancy'))`)
	return err
}
