// Package limit counts what must not happen too often, and refuses the rest.
//
// A limit is "at most so many in any window of so long" (rule.go), for a subject such as a network (subject.go). Hits are counted
// exactly, whatever the number of requests and processes, in one table of the control schema (counter.go). A count is one round trip
// that commits by itself, before the request does what is limited: so no failure of the request undoes it. A comparison, as of
// a password, is a Try (try.go), of which only a failure stays counted. The limit of logins to an account locks it for a while.
//
// Name and workspace of an account are public. A count for the account alone would let anybody lock its owner out. So each limit
// of an account is counted by circles (known.go): strangers share one circle, and each device and network from which the owner
// logged in lately has a circle of its own.
//
// Only the limit of API requests is not in the database (member.go): it must not cost each request a round trip, so each process
// counts its own.
package limit
