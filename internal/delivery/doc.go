// Package delivery sends events to systems outside: webhooks, SIEMs and NATS. What goes there is decided elsewhere; here is how.
//
//	outside.go  the way out: which addresses may be reached, and how a name becomes one
//	target.go   where to, and with what; one sender for each kind
//	webhook.go  one event a request, signed (Standard Webhooks)
//	ndjson.go   many events a request, a line each
//	syslog.go   RFC 5424 in the frames of RFC 5425
//	nats.go     JetStream, through watermill-nats
//	failure.go  what an error says to a person: nothing of a path, a body or a secret
package delivery
