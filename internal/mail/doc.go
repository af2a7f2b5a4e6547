// Package mail writes and sends the program's mails: codes, invitations and notices, in English, French and Dutch.
//
// A mail goes this way:
//
//  1. A command calls [Outbox.Enqueue] in its own transaction, so that there is a mail exactly when there is a change.
//  2. River runs the job, and [Worker] opens it.
//  3. [Sender.Send] renders the mail and hands it to an SMTP server, or writes it as a file when there is no server.
//
// The files:
//
//	message.go   what a mail is; the templates, what each needs, and how long it is useful
//	render.go    the words, from texts/<language>/<template>.txt, whose first line is the subject; the HTML has the same words
//	sender.go    the mail in the format of RFC 5322, and where it goes
//	smtp.go      to a server (RFC 5321), encrypted (RFC 3207)
//	folder.go    into a folder
//	error.go     why a server did not take it, without a word that the server said
//	job.go       the job, and when it is tried again
//	clock.go     the database's time
//	river.go     River's tables
//
// A message holds an address, a name and a code. So it travels sealed, and no error and no log line of this package contains any of
// the three: River stores errors in its table, and SMTP servers repeat addresses in their answers.
package mail
