// Package pg is the only door to the database.
//
// Workspace data is reached through DB.Do, DB.Read and DB.In, which take the workspace as a value and
// put the transaction under the workspace's own role and search_path, with transaction-local settings,
// in the same round trip as the first statement. There is no unscoped handle to workspace data: the
// login itself may read none. The control schema (kluis) is reached through DB.Control, and schemas are
// changed through DB.Own, as the owner role, which only provisioning, migrations, retention and erasure use.
//
// Statements are constant texts with parameters and unqualified names, so that a connection prepares each
// once, whatever the number of workspaces.
package pg
