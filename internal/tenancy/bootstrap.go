package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// tenants is the group of all workspace roles: what they may do in the control schema is granted to it.
const tenants = "kluis_workspace"

// bootstrap makes the roles and the control schema that everything else stands on. It changes nothing
// when they are there. Roles belong to the whole server, so another database's bootstrap may run at once.
func (t *Tenancy) bootstrap(ctx context.Context) error {
	if err := t.checkLogin(ctx); err != nil {
		return err
	}
	for _, role := range []string{pg.Owner, tenants} {
		if err := t.ensureRole(ctx, role); err != nil {
			return err
		}
	}
	return t.db.Control(ctx, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `create schema if not exists kluis authorization kluis_owner`)
		if err != nil {
			return fmt.Errorf("create the control schema (the login needs CREATE on the database): %w", err)
		}
		return nil
	})
}

// checkLogin refuses a login that could read workspace data without taking a workspace's role.
func (t *Tenancy) checkLogin(ctx context.Context) error {
	var name string
	var super, inherit, createRole bool
	err := t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select rolname, rolsuper or rolbypassrls, rolinherit, rolcreaterole from pg_roles where rolname = session_user`).
			Scan(&name, &super, &inherit, &createRole)
	})
	if err != nil {
		return fmt.Errorf("look up the login: %w", err)
	}
	var wrong []string
	if super {
		wrong = append(wrong, "is a superuser, whom no permission stops")
	}
	if inherit {
		wrong = append(wrong, "is not NOINHERIT, so it could read every workspace without taking its role")
	}
	if !createRole && !super {
		wrong = append(wrong, "has no CREATEROLE, so it could not make workspaces")
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the login %q in KLUIS_DATABASE_URL %s; make one of its own, as a superuser: "+
		"CREATE ROLE kluis LOGIN NOSUPERUSER CREATEROLE NOINHERIT PASSWORD '...'; GRANT CREATE ON DATABASE ... TO kluis",
		name, strings.Join(wrong, " and "))
}

// ensureRole makes a NOLOGIN role that the login may take on, unless it is there.
func (t *Tenancy) ensureRole(ctx context.Context, role string) error {
	var exists, member bool
	err := t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(pg_has_role(session_user, oid,
				case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)), false)
			from pg_roles where rolname = $1`, role).Scan(&exists, &member)
	})
	if err != nil {
		return fmt.Errorf("look up role %s: %w", role, err)
	}
	if !exists {
		//sqlcheck:allow the name of one of our two roles
		err := t.control(ctx, "create role "+role+" nologin")
		if err != nil && !pg.Is(err, "42710", pg.UniqueViolation) { // made by somebody else at the same moment
			return fmt.Errorf("create role %s: %w", role, err)
		}
	}
	if exists && member {
		return nil
	}
	//sqlcheck:allow the name of one of our two roles
	err = t.control(ctx, "grant "+role+" to session_user")
	for try := 0; pg.Is(err, "XX000") && try < 20; try++ { // "tuple concurrently updated": the same grant elsewhere
		//sqlcheck:allow the name of one of our two roles
		err = t.control(ctx, "grant "+role+" to session_user")
	}
	if err != nil {
		return fmt.Errorf("grant %s to the login (it was made by another login: grant it as a superuser): %w", role, err)
	}
	return nil
}

func (t *Tenancy) control(ctx context.Context, sql string) error {
	return t.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql)
		return err
	})
}

// lock lets one process at a time change what all processes share. It ends with the transaction.
func lock(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('tenancy'))`)
	return err
}

// SelfTest proves, on the oldest workspaces there are, that the bare login and another workspace's role
// are denied. It runs at every start: a server on which isolation does not hold is not served from.
func (t *Tenancy) SelfTest(ctx context.Context) error {
	entries, err := t.List(ctx, 2)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		sql := "select 1 from " + entry.Workspace().Schema() + ".event limit 1"
		//sqlcheck:allow a name made of the workspace's id
		if err := denied(t.control(ctx, sql)); err != nil {
			return fmt.Errorf("isolation does not hold: the bare login reads workspace %s: %w", entry.ID, err)
		}
		other := entries[len(entries)-1-i].Workspace() // each of the two by the other
		if other == entry.Workspace() {
			continue // there is but one
		}
		err := t.db.Control(ctx, func(tx pgx.Tx) error {
			if err := pg.Become(ctx, tx, other.Schema(), other.Schema()); err != nil {
				return err
			}
			//sqlcheck:allow a name made of the workspace's id
			_, err := tx.Exec(ctx, sql)
			return err
		})
		if err := denied(err); err != nil {
			return fmt.Errorf("isolation does not hold: the role of workspace %s reads workspace %s: %w", other.ID, entry.ID, err)
		}
	}
	return nil
}

func denied(err error) error {
	switch {
	case pg.Is(err, pg.AccessDenied):
		return nil
	case err == nil:
		return errors.New("it was not denied")
	default:
		return err
	}
}
