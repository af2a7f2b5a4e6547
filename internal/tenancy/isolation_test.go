package tenancy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// tables are those of every workspace.
func tables(t testing.TB, admin *pgx.Conn, schema string) []string {
	t.Helper()
	rows, _ := admin.Query(context.Background(), `select tablename::text from pg_tables where schemaname = $1 order by 1`, schema)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 5 {
		t.Fatalf("tables of %s: %v, %v", schema, names, err)
	}
	return names
}

// attempt runs one statement in a transaction of the login, after it became role; "" stays the login. Nothing stays.
func attempt(t testing.TB, db *pg.DB, role, sql string) error {
	t.Helper()
	err := db.Control(minute(t), func(tx pgx.Tx) error {
		do := func() error {
			_, err := tx.Exec(minute(t), sql)
			return err
		}
		var err error
		if role == "" {
			err = do()
		} else {
			err = pg.AsWorkspace(minute(t), tx, workspaceOf(role), do)
		}
		if err != nil {
			return err
		}
		return errDone
	})
	if err == errDone { //nolint:errorlint // ours, as it is
		return nil
	}
	return err
}

var errDone = pgx.ErrTxClosed

// workspaceOf is the workspace that a schema, and a role, is named after.
func workspaceOf(schema string) pg.Workspace {
	return pg.Workspace{ID: uuid.MustParse(strings.TrimPrefix(schema, "ws_"))}
}

// ownerOf is the owner of an installation.
func ownerOf(t testing.TB, admin *pgx.Conn) string {
	t.Helper()
	return ask[string](t, admin, `select nspowner::regrole::text from pg_namespace where nspname = 'kluis'`)
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	d := directory(t, db)
	a, b := provision(t, d).Schema(), provision(t, d).Schema()
	for _, table := range tables(t, admin, b) {
		for _, sql := range []string{
			"select 1 from " + b + "." + table,
			"select count(*) from " + b + "." + table,
			"table " + b + "." + table,
			"insert into " + b + "." + table + " select * from " + b + "." + table,
			"insert into " + b + "." + table + " default values",
			"update " + b + "." + table + " set position = 1",
			"delete from " + b + "." + table,
			"truncate " + b + "." + table,
			"lock table " + b + "." + table,
			"copy " + b + "." + table + " to stdout",
			"create index on " + b + "." + table + " ((1))",
			"alter table " + b + "." + table + " add column x int",
			"drop table " + b + "." + table,
			"grant select on " + b + "." + table + " to public",
			"select pg_relation_size('" + b + "." + table + "')",
			"explain analyze select * from " + b + "." + table,
		} {
			for _, role := range []string{"", a} {
				if err := attempt(t, db, role, sql); !pg.Is(err, pg.AccessDenied) {
					t.Errorf("as %q: %s: %v, want access denied", role, sql, err)
				}
			}
		}
	}
	for _, sql := range []string{
		"create table " + b + ".mine (x int)",
		"create function " + b + ".f() returns int language sql as 'select 1'",
		"drop schema " + b + " cascade",
		"alter schema " + b + " rename to mine",
		"grant usage on schema " + b + " to public",
	} {
		for _, role := range []string{"", a} {
			if err := attempt(t, db, role, sql); !pg.Is(err, pg.AccessDenied) {
				t.Errorf("as %q: %s: %v, want access denied", role, sql, err)
			}
		}
	}
}

// What a workspace's role may do in its own schema: as much as its code needs, and no history is rewritten.
func TestOwnSchema(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 2)
	a := provision(t, directory(t, db)).Schema()
	for sql, may := range map[string]bool{
		"select count(*) from event": true,
		"insert into event (position, id, stream, version, type, at, data) values (1, gen_random_uuid(), 's', 1, 't', now(), '{}')": true,
		"update event set type = 'x'":                         false,
		"update event set data = data where false":            false,
		"delete from event":                                   false,
		"truncate event":                                      false,
		"alter table event disable trigger all":               false,
		"alter table event rename to other":                   false,
		"drop table event":                                    false,
		"create rule r as on insert to event do nothing":      false,
		"create index on event (type)":                        false,
		"create table mine (x int)":                           false,
		"create temporary table event (x int)":                false, // it would lie before the schema for whoever has the connection next
		"create view v as select * from event":                false,
		"create function f() returns int language sql as '1'": false,
		"create schema mine":                                  false,
		"create role mine":                                    false,
		"insert into event (position) select position from event on conflict (position) do update set type = 'x'":                      false,
		"merge into event e using (values (1)) v (x) on true when matched then update set type = 'x' when not matched then do nothing": false,
		"select * from event for update":                    false,
		"update head set position = 1":                      true,
		"delete from head":                                  false,
		"insert into head (position, at) values (1, now())": false,
		"delete from checkpoint":                            false,
		"delete from task":                                  false,
		"delete from member":                                false,
		"delete from data_key":                              false, // erasure is the owner's
		"update data_key set wrapped = 'x'":                 false,
		"insert into kluis.signal (position) values (1)":    true,
		"insert into kluis.signal (workspace_id, position) select substr(current_user, 4)::uuid, 1": false, // not even itself by name
		"insert into kluis.signal (workspace_id, position) values (gen_random_uuid(), 1)":           false,
		"select * from kluis.signal":                                            false,
		"select 1 from kluis.signal":                                            false,
		"update kluis.signal set position = 1":                                  false,
		"delete from kluis.signal":                                              false,
		"insert into kluis.signal (position) values (1) returning workspace_id": false,
		"select * from kluis.workspace":                                         false,
		"select slug from kluis.workspace":                                      false,
		"insert into kluis.workspace default values":                            false,
		"update kluis.workspace set slug = 'x'":                                 false,
		"select * from kluis.signup":                                            false,
		"select * from kluis.migration":                                         false,
		"delete from kluis.signup":                                              false,
		"create table kluis.mine (x int)":                                       false,
		"copy (select 1) to program 'true'":                                     false,
		"copy (select 1) to '/tmp/kluis-isolation'":                             false,
		"select pg_read_file('/etc/passwd')":                                    false,
		"select rolpassword from pg_authid":                                     false,
		"alter role kluis superuser":                                            false,
		"alter role kluis inherit":                                              false,
		"set session authorization postgres":                                    false,
		"set local role postgres":                                               false,
	} {
		err := attempt(t, db, a, sql)
		switch {
		case may && err != nil:
			t.Errorf("%s: %v, want success", sql, err)
		case !may && !pg.Is(err, pg.AccessDenied):
			t.Errorf("%s: %v, want access denied", sql, err)
		}
	}
}

// Whoever gets SQL of their own into a statement of one workspace's transaction reaches no other: a statement can neither
// take a role with set_config, by whatever way, nor be SET.
func TestInjection(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 2)
	d := directory(t, db)
	a, b := provision(t, d).Schema(), provision(t, d).Schema()
	for _, sql := range []string{
		"select set_config('role', '" + b + "', true)",
		"select pg_catalog.set_config('role', 'none', false)",
		"select set_config('search_path', '" + b + "', true)",
		"select count(*) from event where set_config('role', '" + b + "', true) <> ''",
		"update pg_settings set setting = '" + b + "' where name = 'role'",
		"select query_to_xml('select * from " + b + ".event', true, false, '')",
		"create temporary table session (x int)",
		"create function pg_temp.f() returns text language sql as $$select set_config('role', '" + b + "', true)$$",
		"do $$ begin perform set_config('role', '" + b + "', true); end $$",
	} {
		if err := attempt(t, db, a, sql); !pg.Is(err, pg.AccessDenied) {
			t.Errorf("%s: %v, want access denied", sql, err)
		}
	}
}

// What the roles do not stop, so that nobody relies on it: Postgres asks who logged in. Whoever can send a statement of
// their own to the connection of a workspace's transaction reaches the others, and the login alone can.
func TestLoginMayTakeAnyRole(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 2)
	d := directory(t, db)
	a, b := provision(t, d).Schema(), provision(t, d).Schema()
	for _, sql := range []string{"set local role " + b, "reset role"} {
		if err := attempt(t, db, a, sql); err != nil {
			t.Errorf("%s inside of a transaction of another workspace: %v", sql, err)
		}
	}
}

// Nothing of a workspace is open to everybody, and nobody owns anything but the one owner.
func TestOwnership(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	a := provision(t, directory(t, db)).Schema()
	owner := ownerOf(t, admin)
	group := strings.Replace(owner, "kluis_owner", "kluis_workspace", 1)
	rows, _ := admin.Query(t.Context(), `select n.nspname || '.' || c.relname || ' of ' || pg_get_userbyid(c.relowner) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname in ($1, 'kluis') and pg_get_userbyid(c.relowner) <> $2
		union all select n.nspname || ' of ' || pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname in ($1, 'kluis') and pg_get_userbyid(n.nspowner) <> $2
		union all select n.nspname || '.' || c.relname || ' open to everybody' from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) x
		where n.nspname in ($1, 'kluis') and x.grantee = 0
		union all select rolname || ' may log in, or bypass' from pg_roles where rolname in ($1, $2, $3)
			and (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)`, a, owner, group)
	wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(wrong) > 0 {
		t.Errorf("%v, %v", strings.Join(wrong, "; "), err)
	}
}

// SelfTest sees when isolation does not hold, whichever way it was broken.
func TestSelfTest(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	d := directory(t, db)
	if err := d.SelfTest(minute(t)); err != nil {
		t.Fatalf("without workspaces: %v", err)
	}
	a := provision(t, d).Schema()
	if err := d.SelfTest(minute(t)); err != nil {
		t.Fatalf("with one workspace: %v", err)
	}
	b := provision(t, d).Schema()
	if err := d.SelfTest(minute(t)); err != nil {
		t.Fatalf("with two workspaces: %v", err)
	}
	owner := ownerOf(t, admin)
	group := strings.Replace(owner, "kluis_owner", "kluis_workspace", 1)
	open := func(schema, to string) [2]string {
		return [2]string{"grant usage on schema " + schema + " to " + to + "; grant select on " + schema + ".event to " + to,
			"revoke usage on schema " + schema + " from " + to + "; revoke select on " + schema + ".event from " + to}
	}
	behind := map[string]bool{ // what helps nobody who is not let in, and what one may do to a history of one's own
		"a table other than the log": true, "one may change its history": true, "one may truncate its history": true, "an analyst may delete history": true,
		"a column of history may change": true, "one owns a table": true,
	}
	for name, broken := range map[string][2]string{
		"the login may read the first":            open(a, "kluis"),
		"the login may read the second":           open(b, "kluis"),
		"everybody may read the second":           open(b, "public"),
		"all workspaces may read the second":      open(b, group),
		"the first may read the second":           open(b, a),
		"the second may read the first":           open(a, b),
		"the first is a member of the second":     {"grant " + b + " to " + a, "revoke " + b + " from " + a},
		"the second is a member of the first":     {"grant " + a + " to " + b, "revoke " + a + " from " + b},
		"workspaces are members of the owner":     {"grant " + owner + " to " + a, "revoke " + owner + " from " + a},
		"a column of the first is the second's":   {"grant usage on schema " + a + " to " + b + "; grant select (type) on " + a + ".event to " + b, "revoke usage on schema " + a + " from " + b + "; revoke select (type) on " + a + ".event from " + b},
		"a table other than the log":              {"grant select on " + a + ".credential to " + b, "revoke select on " + a + ".credential from " + b},
		"one may change its history":              {"grant update on " + a + ".event to " + a, "revoke update on " + a + ".event from " + a},
		"one may truncate its history":            {"grant truncate on " + a + ".event to " + a, "revoke truncate on " + a + ".event from " + a},
		"an analyst may delete history":           {"grant delete on " + a + ".event to pg_monitor", "revoke delete on " + a + ".event from pg_monitor"},
		"a column of history may change":          {"grant update (data) on " + a + ".event to " + a, "revoke update (data) on " + a + ".event from " + a},
		"what is made will be everybody's":        {"alter default privileges in schema " + a + " grant select on tables to public", "alter default privileges in schema " + a + " revoke select on tables from public"},
		"what the owner makes will be another's":  {"alter default privileges for role " + owner + " grant select on tables to " + b, "alter default privileges for role " + owner + " revoke select on tables from " + b},
		"the directory is open to workspaces":     {"grant select on kluis.workspace to " + group, "revoke select on kluis.workspace from " + group},
		"one workspace has more of the signals":   {"grant select on kluis.signal to " + a, "revoke select on kluis.signal from " + a},
		"everybody may come in":                   {"grant usage on schema " + a + " to public", "revoke usage on schema " + a + " from public"},
		"one is a member of what reads all":       {"grant pg_read_all_data to " + a, "revoke pg_read_all_data from " + a},
		"one owns a table":                        {"create table " + a + ".mine (x int); alter table " + a + ".mine owner to " + a, "drop table " + a + ".mine"},
		"one may log in":                          {"alter role " + a + " login", "alter role " + a + " nologin"},
		"the owner bypasses row level security":   {"alter role " + owner + " bypassrls", "alter role " + owner + " nobypassrls"},
		"a function of the owner is everybody's":  {"grant execute on function kluis.adopt to public", "revoke execute on function kluis.adopt from public"},
		"the second workspace's is a superuser":   {"alter role " + b + " superuser", "alter role " + b + " nosuperuser"},
		"the first workspace's role is superuser": {"alter role " + a + " superuser", "alter role " + a + " nosuperuser"},
	} {
		exec(t, admin, broken[0])
		err, doors := d.SelfTest(minute(t)), d.DoorsTest(minute(t))
		exec(t, admin, broken[1])
		if behind[name] == (doors != nil) {
			t.Errorf("%s: a start says %v", name, doors)
		}
		if err == nil {
			t.Errorf("%s, and the self-test passes", name)
		} else if !strings.Contains(err.Error(), "isolation") {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.SelfTest(minute(t)); err != nil {
			t.Fatalf("mended again after %s: %v", name, err)
		}
	}
}

// A workspace signals for the one whose schema is on its path: a path to another's leads nowhere.
func TestSignalForAnother(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db := open(t, url, 2)
	d := directory(t, db)
	a, b := provision(t, d), provision(t, d)
	err := db.In(minute(t), a, func(tx *pg.Tx) error {
		return tx.Script(minute(t), "set local search_path = "+b.Schema()+", pg_catalog; insert into kluis.signal (position) values (1)")
	})
	if err == nil {
		t.Error("a workspace signals for another")
	}
	var rows int
	if err := superuser(t, url).QueryRow(minute(t), `select count(*) from kluis.signal where workspace_id = $1`, b.ID).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d signals of another, %v", rows, err)
	}
}
