// Package migrations is the shape of the database, in two lines of numbered files: control/NNN_*.sql for
// the one control schema, workspace/NNN_*.sql for the schema of every workspace.
//
// A file runs once, in one transaction, as the owner role with the schema on the search_path. In it,
// :login stands for the application's login and :role for the workspace's role. A file that has been
// released is never changed: a change is a new file.
//
// At a deploy the older version serves beside the newer one, from what the newer one has migrated, and goes on alone when the newer
// one is rolled back. So a file only adds (expand): tables, and columns that have a default or may be null. A column that a version no longer
// uses is taken away by a file of a later release (contract), when nobody runs the older one any more. A column is renamed by adding
// another. A file that needs locks gets each within two seconds or gives way, and is tried again: a change of a large table is several
// small files.
//
// No version has been released yet. Until the first one is, files may still be changed in place, and a ./data that an
// unreleased build made is not migrated: delete it.
package migrations

import "embed"

// Control and Workspace are the two lines.
var (
	//go:embed control/*.sql
	Control embed.FS
	//go:embed workspace/*.sql
	Workspace embed.FS
)

// Analytics makes the views that analysts read, in a schema of their own beside the workspace's. They are dropped and made again with
// every migration of a workspace that has analysts, and at the start of a program whose text is another, so a change is made in place;
// what queries of analysts may name (views and columns) is never taken away.
//
//go:embed analytics/views.sql
var Analytics string
