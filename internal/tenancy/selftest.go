package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// violations asks the catalogue for whatever lets one workspace, or everybody, reach another. $1 is the group of all workspaces' roles, $2 the login,
// $3 tells whether that login must not be a member of the owner, $4 whether to look behind the doors, too: at what is in the workspaces' schemas. It reads
// each catalogue once, whatever the number of workspaces, and expands each different list of grants of a schema once. Without $4 it does not read those
// that have a row for each table or column. A function counts only when it runs as its owner (security definer).
const violations = `
with tenant as (select r.oid, r.rolname from kluis.workspace w join pg_roles r on r.rolname = 'ws_' || replace(w.id::text, '-', '')),
named as (select (select nspowner from pg_namespace where nspname = 'kluis') as owner, (select oid from pg_roles where rolname = $1) as tenants,
	(select oid from pg_roles where rolname = $2) as login),
place as (select n.oid, n.nspname as name, n.nspacl as acl, n.nspowner as owner, r.oid as own from pg_namespace n left join pg_roles r on r.rolname = left(n.nspname, 35)
	where n.nspname ~ '^ws_[0-9a-f]{32}' or n.nspname in ('kluis', 'kluis_jobs')),
control as (select p.name, p.own, c.oid, c.relname, c.relacl, c.relowner from pg_depend d join pg_class c on c.oid = d.objid join place p on p.oid = d.refobjid
	where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_namespace'::regclass and d.refobjid = any (array(select oid from pg_namespace where nspname in ('kluis', 'kluis_jobs')))
		and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')),
thing as (select name, ''::text as part, acl, own, owner from place
	union all select name, relname, relacl, own, relowner from control
	union all select c.name, c.relname || '.' || a.attname, a.attacl, c.own, c.relowner from control c join pg_attribute a on a.attrelid = c.oid where a.attacl is not null
	union all select p.name, c.relname, c.relacl, p.own, c.relowner from place p join pg_class c on c.relnamespace = p.oid
		where $4 and p.name ~ '^ws_' and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
	union all select p.name, c.relname || '.' || a.attname, a.attacl, p.own, c.relowner from pg_attribute a join pg_class c on c.oid = a.attrelid join place p on p.oid = c.relnamespace
		where $4 and p.name ~ '^ws_' and a.attacl is not null
	union all select p.name, f.proname || '()', coalesce(f.proacl, acldefault('f', f.proowner)), p.own, f.proowner from place p join pg_proc f on f.pronamespace = p.oid where f.prosecdef
	union all select coalesce(p.name, 'every schema'), 'whatever is made there', d.defaclacl, p.own, d.defaclrole from pg_default_acl d left join place p on p.oid = d.defaclnamespace
		where p.oid is not null or d.defaclrole = (select owner from named)),
alike as (select name, acl, own, owner, array_agg(part) as parts from thing group by name, acl, own, owner),
granted as (select t.name, p.part, t.own, t.owner, a.grantee, a.privilege_type as privilege from alike t cross join lateral aclexplode(t.acl) a
	cross join lateral unnest(t.parts) as p (part) where a.grantee <> t.owner)
select * from (
	select case when g.grantee = 0 then 'everybody' else g.grantee::regrole::text end || ' has ' || g.privilege || ' on ' || g.name || coalesce('.' || nullif(g.part, ''), '') as wrong
	from granted g cross join named left join tenant t on t.oid = g.grantee
	where g.grantee = 0 or t.oid is not null and g.grantee is distinct from g.own
		or g.grantee = named.tenants and not (g.name = 'kluis' and (g.part, g.privilege) in (('', 'USAGE'), ('signal.position', 'INSERT')))
		or g.grantee = named.login and g.name not in ('kluis', 'kluis_jobs')
		or g.name like 'ws%' and g.part ~ '^event(\.|$)' and g.privilege in ('UPDATE', 'DELETE', 'TRUNCATE')
	union all select t.owner::regrole || ' owns ' || t.name || coalesce('.' || nullif(t.part, ''), '') from thing t cross join named
		where t.owner <> named.owner and (t.owner in (named.tenants, named.login) or exists (select from tenant where tenant.oid = t.owner))
	union all select m.member::regrole || ' is a member of ' || m.roleid::regrole from pg_auth_members m cross join named
		where m.member in (select oid from tenant) and m.roleid <> named.tenants or m.member in (named.owner, named.tenants)
			or $3 and m.member = named.login and m.roleid = named.owner
	union all select $2 || ' may take the role ' || rolname from pg_roles
		where (rolsuper or rolbypassrls or rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')) and pg_has_role($2, oid, 'MEMBER')
	union all select r.rolname || ' may log in, make roles or databases, replicate, or do as it likes' from pg_roles r cross join named
		where (r.oid in (named.owner, named.tenants) or r.oid in (select oid from tenant))
			and (r.rolcanlogin or r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls)
) found order by 1 limit 10`

// ErrNotIsolated says that something lets one workspace, or everybody, reach another.
var ErrNotIsolated = errors.New("isolation does not hold")

// SelfTest checks every role, grant and membership that the catalogue has. The error is ErrNotIsolated, and names what lets one workspace, or everybody,
// reach another, and what lets anybody but the owner change the log. It reads some 300 rows of catalogues for each workspace.
func (t *Tenancy) SelfTest(ctx context.Context) error { return t.test(ctx, true) }

// DoorsTest is the part of SelfTest that a server waits for at its start: all roles and memberships, who may enter which schema, and the control schema.
// What is granted of a table is of no use to a role that may not enter its schema. It reads a few rows for each workspace.
func (t *Tenancy) DoorsTest(ctx context.Context) error { return t.test(ctx, false) }

func (t *Tenancy) test(ctx context.Context, behind bool) error {
	var found []string
	err := t.db.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local statement_timeout = '2min'`); err != nil {
			return err
		}
		owner, err := pg.Owner(ctx, tx)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, violations, groupOf(owner), t.db.Login(), t.db.Separate(), behind)
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return fmt.Errorf("ask the catalogue whether workspaces are kept apart: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %s; as a superuser, revoke that", ErrNotIsolated, strings.Join(found, "; "))
	}
	return nil
}
