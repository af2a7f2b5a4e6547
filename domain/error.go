package domain

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of refusal an Error is. One place, http/problem.go, turns kinds into status codes.
type Kind int

const (
	Invalid         Kind = iota + 1 // the request can never succeed as it stands (422)
	Unauthenticated                 // the caller is not known (401)
	Forbidden                       // the caller may not (403)
	NotFound                        // no such thing, or none that the caller may know of (404)
	Conflict                        // the state does not allow it now (409)
	Stale                           // the caller decided on an older version (412)
	TooLarge                        // what is sent has more bytes than are taken (413)
	TooMany                         // a limit was reached; RetryAfter says for how long (429)
	Unavailable                     // not now, through no fault of the caller (503)
	Gone                            // it was there, and is no more (410)
)

// Error is a refusal that may be shown to the caller. Any other error is ours and says nothing to the outside.
type Error struct {
	Kind       Kind
	Code       string  // stable, snake_case, e.g. "last_admin"
	Detail     string  // one sentence for a person, without secrets
	Fields     []Field // what is wrong where, for Invalid
	RetryAfter time.Duration
	Horizon    *Horizon // how far back there is something, for Gone
	Limit      string   // the limit that was reached, as KLUIS_LIMITS has it; "" for TooMany of another kind
}

// Field is one thing that is wrong with a request.
type Field struct {
	Pointer string // JSON pointer into the body (RFC 6901), e.g. "/title"
	Detail  string
}

func (e *Error) Error() string {
	text := e.Code + ": " + e.Detail
	for _, f := range e.Fields {
		text += fmt.Sprintf("; %s %s", f.Pointer, f.Detail)
	}
	return text
}

// Refuse makes an Error of a kind with a code and a formatted detail.
func Refuse(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// InvalidField refuses one field of a request.
func InvalidField(pointer, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Code: "invalid", Detail: "the request has an invalid value",
		Fields: []Field{{Pointer: pointer, Detail: fmt.Sprintf(format, args...)}}}
}

// Missing is the NotFound of a noun: it says the same for a thing that never was, one of another
// workspace and one that the caller's scope hides.
func Missing(noun string) *Error {
	return Refuse(NotFound, noun+"_not_found", "there is no such %s", noun)
}

// Refusal gives the Error inside err, if it is one.
func Refusal(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
