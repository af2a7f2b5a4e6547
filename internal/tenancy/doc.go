// Package tenancy makes workspaces: the roles and schemas of Postgres that keep them apart, the directory
// that knows them all, and the migrations that give each its shape.
//
// There are three kinds of role, so that nobody can do more than their part: the login of the application
// (creates roles, inherits nothing, owns nothing), kluis_owner (owns every schema and table; nobody logs in
// as it), and one role per workspace. A workspace is made in one transaction, so that it is whole or absent.
package tenancy
