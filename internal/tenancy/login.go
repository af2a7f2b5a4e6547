package tenancy

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// checkLogins refuses a login that could read workspace data without taking a workspace's role.
func (t *Tenancy) checkLogins(ctx context.Context) error {
	if !t.db.Separate() {
		return check(ctx, "KLUIS_DATABASE_URL", true, t.db.Control)
	}
	if err := check(ctx, "KLUIS_OWNER_URL", true, t.db.Admin); err != nil {
		return err
	}
	return check(ctx, "KLUIS_DATABASE_URL", false, t.db.Control)
}

// check refuses the login of a setting with an error that says which login to make instead.
func check(ctx context.Context, setting string, makesRoles bool, transaction func(context.Context, func(pgx.Tx) error) error) error {
	var name string
	var super, inherit, createRole bool
	err := transaction(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select rolname, rolsuper or rolbypassrls, rolinherit, rolcreaterole from pg_roles where rolname = session_user`).
			Scan(&name, &super, &inherit, &createRole)
	})
	if err != nil {
		return fmt.Errorf("look up the login: %w", err)
	}
	var wrong []string
	if super {
		wrong = append(wrong, "is a superuser, whom no missing grant stops")
	}
	if inherit {
		wrong = append(wrong, "is not NOINHERIT, so it could read every workspace without taking its role")
	}
	if makesRoles && !createRole && !super {
		wrong = append(wrong, "has no CREATEROLE, so it could not make workspaces")
	}
	if !makesRoles && createRole {
		wrong = append(wrong, "has CREATEROLE, which only the login in KLUIS_OWNER_URL needs")
	}
	if len(wrong) == 0 {
		return nil
	}
	can := "NOCREATEROLE NOINHERIT PASSWORD '...'"
	if makesRoles {
		can = "CREATEROLE NOINHERIT PASSWORD '...'; GRANT CREATE ON DATABASE ... TO kluis"
	}
	return fmt.Errorf("the login %q in %s %s; make one of its own, as a superuser: CREATE ROLE kluis LOGIN NOSUPERUSER %s",
		name, setting, strings.Join(wrong, " and "), can)
}

// setConfig is what a superuser of the database runs, so that only the logins can take a role or a search_path by set_config: it is a
// function, which an injected SELECT could call.
const setConfig = `REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC; GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO %s`

// SetConfigOpen tells whether everybody may call set_config, and returns the SQL that a superuser runs to end that.
func (t *Tenancy) SetConfigOpen(ctx context.Context) (open bool, run string, err error) {
	var admin string
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select quote_ident(session_user), has_function_privilege('public', 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')`).Scan(&admin, &open)
	})
	logins := t.login()
	if t.db.Separate() {
		logins += ", " + admin
	}
	return open, fmt.Sprintf(setConfig, logins), err
}
