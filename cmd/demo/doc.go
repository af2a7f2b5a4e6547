// Package demo fills a running server with the history of a file, as an admin of each organisation would.
//
// The file is NDJSON, one action on a line, the oldest first, as `kluis import` reads it. The demo signs up a workspace for each org in the file, and
// invites its people, who accept with the codes from their mails. Then the admin imports the lines of the org, and the demo compares the counts of the
// file with those of the server's lists.
//
// The way of a run: plan.go reads the whole file, and refuses a bad one before anything is sent. workspace.go signs up, invites and accepts, with the
// codes from mailbox.go, through client.go, which repeats requests without an answer. history.go imports. count.go counts in the file, and check.go in
// the lists, both without any code of the import.
package demo
