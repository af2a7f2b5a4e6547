// Package mail writes and sends the program's mails: codes, invitations and notices, in English, French and Dutch.
//
// The way of a mail: a command calls [Outbox.Enqueue] in its own transaction, so that there is a mail exactly when there is a
// change; River runs the job; [Worker] opens it, and [Sender.Send] renders it and hands it to an SMTP server, or writes it as a
// file when there is none.
//
//	message.go   what a mail is; which texts there are, what they need, how long they are useful
//	render.go    words: texts/<language>/<template>.txt, first line the subject; the HTML is made from the same words
//	sender.go    the mail as RFC 5322 wants it, and where it goes
//	smtp.go      to a server (RFC 5321), encrypted (RFC 3207)
//	folder.go    into a folder
//	error.go     why not, without a word that the server said
//	job.go       the job, and who retries it how often
//	river.go     River's tables
//
// A message holds an address, a name and a code. So it travels sealed, and neither an error nor a log line of this package contains
// any of the three: River stores errors in its table, and SMTP servers repeat addresses in their answers.
package mail
