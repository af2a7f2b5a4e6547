// Package tenancy makes workspaces: the roles and schemas of Postgres that keep them apart, the directory that lists them,
// and the migrations that make their tables.
//
// There are three kinds of role, so that no role can do more than its part:
//
//   - The login of the application makes roles. It inherits nothing and owns nothing.
//   - The owner (kluis_owner) owns every schema and table. Nobody logs in as the owner.
//   - Each workspace has a role.
//
// A workspace is made in one transaction, so that it is whole or absent.
package tenancy
