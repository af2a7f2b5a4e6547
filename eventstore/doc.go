// Package eventstore keeps the logs: streams of events, versions within a stream, positions within a workspace. The package knows nothing
// about tasks or any other noun.
//
// An append names, for each stream that it writes, the version that the decision read, and may guard streams that the decision only read.
// When one of these streams has another version by now, nothing is stored. Positions have no gaps and are in commit order, because every
// append updates the one head row of its workspace. When several appends of a process wait for a workspace, the first one stores all of
// them in one transaction (group commit): see writer.go and commit.go.
package eventstore
