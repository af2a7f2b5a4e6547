// Package demo plays a file of actions through the HTTP API of a running server, as the people in the file.
//
// The file is NDJSON, one action a line, oldest first: see action.go for its fields. Each org in it becomes a
// workspace that the demo signs up for, its people become members who are invited, accept with the code from their
// mail, and act with their own sessions. What there is no room for yet on the server (time, tags, projects) is
// counted and reported, never dropped in silence.
//
// The way of one run: plan.go reads the whole file and refuses it before anything is sent; workspace.go and
// person.go sign up, invite and accept, with the codes from mailbox.go; play.go reads the file again and does each
// action when what it depends on is done; command.go says what an action asks of the server; client.go sends it, and
// sends it again with the same Idempotency-Key when the answer was lost; check.go reads back what was acknowledged.
package demo
