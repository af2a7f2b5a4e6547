// Package eventstore is what happened: streams of events, versions within a stream, positions within a
// workspace. It knows no tasks.
//
// An append names, for each stream that it writes, the version that it read, and may guard streams that it
// only read; when one of them moved, nothing is stored. Positions have no gaps and are in commit order,
// because every append updates the one head row of its workspace. In each process one goroutine per active
// workspace takes what is waiting into one transaction (group commit): see writer.go and commit.go.
package eventstore
