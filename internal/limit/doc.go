// Package limit counts what must not happen too often, and refuses the rest.
//
// A limit is "at most so many in any window of so long" (rule.go), for a subject such as an address. Hits are counted
// exactly, whatever the number of requests and processes, in one table of the control schema (counter.go): one round
// trip that commits by itself, before the request does what is limited, so that no failure of the request takes its
// count along. Who had good reason gives the hit back. The limit of logins to an account locks it for a while
// instead.
//
// The one limit that is not in the database is that of API requests (member.go): it must not cost each request a round
// trip, so each process counts its own.
package limit
