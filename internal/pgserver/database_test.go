package pgserver

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	s := start(t, copied(t), Options{})
	if err := s.CreateDatabase(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	type attributes struct {
		Super, Inherit, Createrole, Createdb, Canlogin, Replication, Bypassrls bool
		Memberships, Owned                                                     int
	}
	rows, _ := connect(t, s.SuperuserURL("x")).Query(t.Context(), `
		select rolsuper as super, rolinherit as inherit, rolcreaterole as createrole, rolcreatedb as createdb,
			rolcanlogin as canlogin, rolreplication as replication, rolbypassrls as bypassrls,
			(select count(*) from pg_auth_members where member = r.oid) as memberships,
			(select count(*) from pg_shdepend where refobjid = r.oid and deptype = 'o') as owned
		from pg_roles r where rolname = 'kluis'`)
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[attributes])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(attributes{Canlogin: true}, got); diff != "" {
		t.Errorf("the login has other attributes: %s", diff)
	}
	login := connect(t, s.URL("x"))
	for sql, allowed := range map[string]bool{
		`select set_config('search_path', 'x', true)`: true,
		`create schema mine`:                          false, `create temporary table t (n int)`: false, `create role r nologin`: false,
		`create table public.t (n int)`: false, `create database y`: false, `set role postgres`: false,
		`alter role kluis superuser`: false, `copy (select 1) to program 'true'`: false,
	} {
		_, err := login.Exec(t.Context(), sql)
		if (err == nil) != allowed {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, database := range []string{"postgres", "template1"} {
		var refusal *pgconn.PgError
		if _, err := pgx.Connect(t.Context(), s.URL(database)); !errors.As(err, &refusal) || refusal.Code != "42501" {
			t.Errorf("the login may connect to %s: %v", database, err)
		}
	}
}

func TestCreateDatabase(t *testing.T) {
	t.Parallel()
	s := start(t, copied(t), Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.CreateDatabase(t.Context(), `odd "name"`); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	exec1(t, s.AdminURL(`odd "name"`), `create schema kept`)
	if err := s.CreateDatabase(t.Context(), `odd "name"`); err != nil {
		t.Error(err)
	}
	acl := ask[string](t, s.SuperuserURL("postgres"), `select datacl::text || ' ' || pg_get_userbyid(datdba) from pg_database where datname = $1`, `odd "name"`)
	if want := `{postgres=CTc/postgres,kluis=c/postgres,kluis_admin=Cc*/postgres} postgres`; acl != want {
		t.Errorf("rights are %s, want %s", acl, want)
	}
	if acl := ask[string](t, s.SuperuserURL(`odd "name"`), `select coalesce(array_to_string(nspacl, ','), '') from pg_namespace where nspname = 'public'`); acl != "pg_database_owner=UC/pg_database_owner" {
		t.Errorf("rights of schema public are %s", acl)
	}
}
