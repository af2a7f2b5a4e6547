// Package jobs is what happens in the background: read models that follow their logs, reactions to events, mails, deliveries.
//
//	jobs.go       what runs, and until when
//	signal.go     each signal of the event store: catch up the workspace's read models, then its reactions
//	checkpoint.go Merkle trees that follow their logs, and their checkpoints outside the database
//	witness.go    ... which each witness gets, by a loop of its own
//	rebuild.go    read models of an older version are derived anew
//	reaction.go   reactions happen once for each event, in the order of the log
//	receiver.go   which receivers are due, and how many at once
//	delivery.go   events that go out to one of them
//	member.go     ... to the events of members; one file for each noun that reacts, and a line in the list of reactions
//	attachment.go bytes that nothing needs are deleted
//	queue.go      work that takes long, shared by all processes: import.go, export.go
//	mail.go       the mails that reactions and commands enqueue
//
// No read depends on the background for being right: a read catches up by itself when it must. Several processes share the work.
package jobs
