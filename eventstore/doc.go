// Package eventstore is what happened: streams of events, versions within a stream, positions within a workspace. It knows no tasks.
//
// An append names, for each stream that it writes, the version that the decision read, and may guard streams that the decision only read.
// When one of them has moved, nothing is stored. Positions have no gaps and are in commit order, because every append updates the one head
// row of its workspace. Of the appends of a process that wait for a workspace, the first one stores all in one transaction (group commit):
// see writer.go and commit.go.
package eventstore
