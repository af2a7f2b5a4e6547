#!/bin/sh
# The two logins of Kluis, as docs/operations.md has them. Postgres' image runs it once, in an empty database.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres --dbname=kluis --set=login="$KLUIS_PASSWORD" --set=admin="$KLUIS_ADMIN_PASSWORD" <<'SQL'
CREATE ROLE kluis LOGIN NOSUPERUSER NOINHERIT PASSWORD :'login';
CREATE ROLE kluis_admin LOGIN NOSUPERUSER CREATEROLE NOINHERIT PASSWORD :'admin';
REVOKE ALL ON DATABASE kluis FROM PUBLIC;
GRANT CONNECT ON DATABASE kluis TO kluis;
GRANT CREATE ON DATABASE kluis TO kluis_admin;
GRANT CONNECT ON DATABASE kluis TO kluis_admin WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO kluis;
GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO kluis_admin WITH GRANT OPTION;
SQL
