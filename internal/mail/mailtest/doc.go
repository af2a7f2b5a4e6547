// Package mailtest has a small real SMTP server (emersion/go-smtp) on 127.0.0.1 for tests, which can be told to misbehave, and reads the
// mails that it or a folder got.
package mailtest
