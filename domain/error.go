package domain

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies an Error. One place, http/problem.go, turns kinds into status codes.
type Kind int

const (
	Invalid         Kind = iota + 1 // the request can never succeed as it stands (422)
	Unauthenticated                 // the caller is not known (401)
	Forbidden                       // the caller lacks the permission (403)
	NotFound                        // no such thing, or none that the caller may see (404)
	Conflict                        // the state does not allow it now (409)
	Stale                           // the caller decided on an older version (412)
	TooLarge                        // the body has more bytes than are accepted (413)
	TooMany                         // a limit was reached; RetryAfter says for how long (429)
	Unavailable                     // not possible now, through no fault of the caller (503)
	Gone                            // the thing existed and no longer does (410)
)

// Error is a refusal that may be shown to the caller. The text of any other error goes to the program's log alone.
type Error struct {
	Kind       Kind
	Code       string  // stable, snake_case, e.g. "last_admin"
	Detail     string  // one sentence for a person, without secrets
	Fields     []Field // the invalid fields, for Invalid
	RetryAfter time.Duration
	Horizon    *Horizon // how far back the log reaches, for Gone
	Limit      string   // the limit that was reached, as KLUIS_LIMITS has it; "" for TooMany of another kind
}

// Field is one invalid field of a request.
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

// Missing is the NotFound of a noun. The refusal is the same for an id that was never given, a thing of another workspace and a thing
// outside of the caller's scope.
func Missing(noun string) *Error {
	return Refuse(NotFound, noun+"_not_found", "there is no such %s", noun)
}

// Refusal gives the Error inside err, if there is one.
func Refusal(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
