// Package projections holds the read models, which are stored folds of the log, with their queries and the rules of access in SQL.
//
// A row of a read model is a state of the domain, stored with the version and the position of its last event. All read models of a
// workspace share one checkpoint and one catch-up (catchup.go). The catch-up is run by reads, by commands that decide again, and by the
// background.
package projections
