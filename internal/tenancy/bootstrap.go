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

// Each installation on a server has an owner of its own, a role that owns its schemas and tables. It also has a group of its own, a role of
// which the roles of all workspaces are members, and which has their rights in the control schema. The owner is found as the owner of
// that schema. Its name begins with ownerPrefix; that of the group begins with groupPrefix, and ends alike.
const (
	ownerPrefix = "kluis_owner"
	groupPrefix = "kluis_workspace"
)

func groupOf(owner string) string { return groupPrefix + strings.TrimPrefix(owner, ownerPrefix) }

// bootstrap makes the roles and the control schema that everything else stands on. It changes nothing when they exist.
func (t *Tenancy) bootstrap(ctx context.Context) error {
	if err := t.checkLogins(ctx); err != nil {
		return err
	}
	var err error
	for try := range 20 {
		var stranger bool
		err = t.db.Admin(ctx, func(tx pgx.Tx) (err error) {
			stranger, err = t.establish(ctx, tx, try)
			return err
		})
		if err == nil && stranger {
			err = t.adopt(ctx)
		}
		if !pg.Is(err, "42710", pg.UniqueViolation, "XX000") { // another installation has made the role, or granted it, at the same moment
			break
		}
	}
	if err != nil {
		return err
	}
	return t.healControl(ctx)
}

// establish makes what is missing, and tells whether the control schema belongs to a stranger: the role that has restored a dump.
func (t *Tenancy) establish(ctx context.Context, tx pgx.Tx, try int) (stranger bool, err error) {
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

// newRoles makes an owner and a group, and makes the login a member of the owner. The first installation of a server gets the plain
// names.
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

// join makes the login a member of an owner that exists, unless another database of the server has something of that owner's.
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
		return fmt.Errorf("this database belongs to the role %s, which is that of another installation on this server: "+
			"restore the dump on a server of its own, or without its roles", owner)
	}
	//sqlcheck:allow the name is quoted
	if _, err := tx.Exec(ctx, `grant `+pgx.Identifier{owner}.Sanitize()+` to session_user`); err != nil {
		return fmt.Errorf("the login is no member of the role %[1]s, which owns this database: as a superuser, run GRANT %[1]s TO the login: %[2]w", owner, err)
	}
	return nil
}

// mayTake is the privilege of a login that may take a role: SET since Postgres 16, and membership before.
const mayTake = `case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end`

// adopt gives to an owner of this program everything that a stranger has restored, schema by schema, the control schema last. When it is broken
// off, the next start begins anew. See kluis.adopt in migrations/control.
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
	if stranger == admin { // this login has restored the dump, so it may give it away
		run = t.db.Admin
	}
	for i, schema := range append(schemas, "kluis") {
		if schema == "kluis" && i < len(schemas) {
			continue // it comes last
		}
		err := run(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select kluis.adopt($1, $2)`, schema, owner)
			return err
		})
		if pg.Is(err, pg.AccessDenied, pg.NoSuchSchema, "42883") {
			return fmt.Errorf("this database belongs to the role %s, as when that role has restored it: as that role, run in this database "+
				"SELECT kluis.adopt(nspname, '%s') FROM pg_namespace WHERE nspname ~ '^(kluis|ws_)' ORDER BY nspname DESC, and start again: %w", stranger, owner, err)
		}
		if err != nil {
			return fmt.Errorf("take over schema %s of role %s: %w", schema, stranger, err)
		}
	}
	return nil
}

// lock lets one process at a time change what all processes share, until the end of the transaction.
func lock(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('tenancy'))`)
	return err
}
