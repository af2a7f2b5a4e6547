// Package projections is what can be seen: the read models, which are stored folds of the log, their queries, and who may see what.
//
// A row of a read model is a state of the domain, stored with the version and the position of its last event. All read models of a
// workspace share one checkpoint and one catch-up (catchup.go). Whoever needs the catch-up runs it: a read, a command that decides again,
// or the background.
package projections
