// Package pg is the only way to the database.
//
// DB.Do, DB.Read and DB.In reach the data of a workspace. They take the workspace as a value, and put the transaction under that
// workspace's own role and search_path. These settings are local to the transaction, and travel in the round trip of its first
// statement. Nothing reaches workspace data without a workspace: the login itself may read none.
//
// DB.Control reaches the control schema (kluis). DB.Own changes schemas as the owner role: only provisioning, migrations, rebuilds,
// retention and erasure use it.
//
// Statements are constant texts with parameters and unqualified names, so that a connection prepares each of them once for a workspace.
package pg
