// Package jobs is what happens in the background: read models that follow their logs, reactions to events, mails, deliveries.
//
//	jobs.go         what runs, and until when
//	signal.go       each signal of the event store: catches up the workspace's read models, then runs its reactions
//	checkpoint.go   Merkle trees that follow their logs, and their checkpoints outside of the database
//	witness.go      checkpoints go to each witness, by a loop of its own
//	rebuild.go      read models of an older version are derived anew
//	reaction.go     reactions happen once for each event, in the order of the log; the list of all reactions
//	receiver.go     which receivers are due, and how many at once
//	delivery.go     events go out to one of them
//	member.go       reactions to the events of members; each noun that reacts has such a file
//	attachment.go   blobs that nothing needs are deleted
//	retention.go    events that are older than the plan says are deleted
//	workspace.go    erasures of workspaces
//	subprocessor.go notices of new subprocessors
//	queue.go        work that takes long, shared by all processes: import.go, export.go
//	mail.go         mails that commands and reactions have enqueued
//
// Reads do not depend on the background, because a read catches up by itself when it must. Several processes share the work.
package jobs
