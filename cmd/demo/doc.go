// Package demo fills a running server with the history of a file, as an admin of each organisation in it would.
//
// The file is NDJSON, one action a line, oldest first, as `kluis import` reads it. Each org in it becomes a workspace that the demo signs up
// for, and its people members, who are invited and accept with the code from their mail. Then the admin imports the lines of the org, and
// the demo counts in the file what the server must have, and in the server's lists what it has.
//
// The way of one run: plan.go reads the whole file and refuses it before anything is sent; workspace.go signs up, invites and accepts, with the
// codes from mailbox.go, through client.go, which sends again what got no answer; history.go imports; count.go counts in the file, and
// check.go in the lists, both without any of the import's code.
package demo
