// Package imports reads what other trackers export, as actions: who did what to which task, when. A reader knows one format and no
// workspace; what it cannot read it says by line, and goes on.
//
//	action.go   what every format becomes
//	tracker.go  NDJSON, an action a line
//	jira.go     the JSON of Jira's search
//	github.go   the JSON of GitHub's issues
//	json.go     what Jira and GitHub have in common: documents of issues
//	csv.go      a table, with a mapping of its columns
//	csv_date.go the dates of a table
package imports
