// Package projections is what can be seen: read models, which are stored folds of the log, their queries,
// and who may see what.
//
// A row of a read model is a state of the domain, stored with the version and the position of its last
// event. There is one checkpoint for all read models of a workspace and one catch-up (catchup.go), and
// whoever needs it runs it: a read, a command that has to decide again, or the background.
package projections
