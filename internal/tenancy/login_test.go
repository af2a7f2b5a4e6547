package tenancy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// logins makes two logins that only this database knows, and gives their URLs.
func logins(t *testing.T, url string) (serving, admin string) {
	t.Helper()
	super := superuser(t, url)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	database := config.Database
	urls := map[string]string{}
	for name, may := range map[string]string{"serving": "nocreaterole", "admin": "createrole"} {
		role := database + "_" + name
		exec(t, super, fmt.Sprintf(`create role %[1]s login noinherit %[2]s password 'secret'; grant connect on database %[3]s to %[1]s;
			grant execute on function set_config(text, text, boolean) to %[1]s`, role, may, database))
		t.Cleanup(func() {
			super := superuser(t, url)
			exec(t, super, fmt.Sprintf("drop owned by %s cascade", role))
			exec(t, super, "drop role "+role)
		})
		urls[name] = strings.Replace(url, "kluis:"+config.Password+"@", role+":secret@", 1)
	}
	exec(t, super, fmt.Sprintf("grant create on database %s to %s_admin", database, database))
	return urls["serving"], urls["admin"]
}

// With two logins the one that serves makes no roles, and takes those of workspaces and no other.
func TestTwoLogins(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	serving, admin := logins(t, url)
	db := open(t, serving, 2)
	if err := db.SeparateOwner(minute(t), admin); err != nil {
		t.Fatal(err)
	}
	d := directory(t, db)
	if err := d.Migrate(minute(t), nil); err != nil {
		t.Fatal(err)
	}
	a, b := provision(t, d).Schema(), provision(t, d).Schema()
	if err := d.SelfTest(minute(t)); err != nil {
		t.Fatal(err)
	}
	if open, run, err := d.SetConfigOpen(minute(t)); err != nil || open || !strings.Contains(run, `_serving", `) || !strings.HasSuffix(run, "_admin") {
		t.Errorf("set_config is open: %v, %s, %v", open, run, err)
	}
	super := superuser(t, url)
	owner := ownerOf(t, super)
	for _, sql := range []string{"set local role " + owner, "create role mine", "create schema mine", "select 1 from " + b + ".event", "create temporary table mine (x int)",
		"delete from kluis.workspace", "alter table kluis.workspace add column x int"} {
		for _, role := range []string{"", a} {
			if err := attempt(t, db, role, sql); !pg.Is(err, pg.AccessDenied) {
				t.Errorf("as %q: %s: %v, want access denied", role, sql, err)
			}
		}
	}
	if err := db.InAsOwner(minute(t), workspaceOf(a), func(tx *pg.Tx) error { return tx.Run(minute(t), pg.Exec(`delete from event`)) }); err != nil {
		t.Errorf("the owner prunes: %v", err)
	}
	for name, broken := range map[string][2]string{
		"the login is a member of the owner":      {"grant " + owner + " to " + db.Login(), "revoke " + owner + " from " + db.Login()},
		"the login is a member of what reads all": {"grant pg_read_all_data to " + db.Login(), "revoke pg_read_all_data from " + db.Login()},
	} {
		exec(t, super, broken[0])
		if err := d.SelfTest(minute(t)); err == nil || !strings.Contains(err.Error(), db.Login()) {
			t.Errorf("%s: %v", name, err)
		}
		exec(t, super, broken[1])
	}
	exec(t, super, "alter role "+db.Login()+" createrole")
	if err := d.Prepare(minute(t)); err == nil || !strings.Contains(err.Error(), "CREATEROLE") {
		t.Errorf("a serving login that makes roles: %v", err)
	}
}

// Two installations on one server share no role: the login of one takes nothing of the other, whatever it runs.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	first := open(t, newDatabase(t), 2)
	there := provision(t, directory(t, first)).Schema()
	url := pgtest.Database(t)
	_, admin := logins(t, url) // makes roles and schemas: one login is enough here
	db := open(t, admin, 2)
	d := directory(t, db)
	if err := d.Migrate(minute(t), nil); err != nil {
		t.Fatal(err)
	}
	provision(t, d)
	if err := d.SelfTest(minute(t)); err != nil {
		t.Fatal(err)
	}
	var owner string
	if err := first.Control(minute(t), func(tx pgx.Tx) (err error) { owner, err = pg.Owner(context.Background(), tx); return err }); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{owner, strings.Replace(owner, "owner", "workspace", 1), there} {
		if err := attempt(t, db, "", "set local role "+role); !pg.Is(err, pg.AccessDenied) {
			t.Errorf("the other installation's login takes the role %s: %v", role, err)
		}
	}
	if mine := ownerOf(t, superuser(t, url)); mine == owner {
		t.Errorf("both have the owner %s", owner)
	}
}

// What belongs to another installation's owner is refused, and not taken over.
func TestOwnerOfAnotherInstallation(t *testing.T) {
	t.Parallel()
	owner := ownerOf(t, superuser(t, newDatabase(t)))
	url := pgtest.Database(t)
	_, admin := logins(t, url)
	exec(t, superuser(t, url), "create schema kluis authorization "+owner)
	err := directory(t, open(t, admin, 2)).Prepare(minute(t))
	if err == nil || !strings.Contains(err.Error(), "another installation") {
		t.Errorf("%v", err)
	}
}
