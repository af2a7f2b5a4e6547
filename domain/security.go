package domain

import "github.com/google/uuid"

// SecurityStream is the stream of what was refused, and of who read the log. Nothing is decided on it and no read model is made of
// it: its events are there to be read by whoever may read the log.
const SecurityStream = "security"

// The events of the security stream. Those that are alike within a minute are one event with a count, besides the first, so that nobody
// fills the log by being refused. Operation is the operation's id in the schema of the API, Code the code of the problem that the caller
// got; TokenID is the API token that the caller came with.
type (
	// SecurityAccessDenied is a request that the caller's role does not grant (403), or about a thing that is not there for the
	// caller (404). Whether the thing is there at all makes no difference to the event: or a caller who watches the position of the log would
	// learn of it. Whoever reads the event finds out by the ids.
	SecurityAccessDenied struct {
		Operation string      `json:"operation"`
		Code      string      `json:"code"`
		Noun      string      `json:"noun,omitempty"`      // of the things
		ThingIDs  []uuid.UUID `json:"thing_ids,omitempty"` // that were asked for: ten at most, however many there were
		TokenID   *uuid.UUID  `json:"token_id,omitempty"`
		Count     int         `json:"count"`
	}
	// SecurityRateLimited is a request beyond the limit of the member (429).
	SecurityRateLimited struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityLoginFailed is a wrong password or code for an address that is no account's. The address is not told.
	SecurityLoginFailed struct {
		Operation string `json:"operation"`
		Code      string `json:"code"`
		Count     int    `json:"count"`
	}
	// SecurityLogRead is that the actor read the log.
	SecurityLogRead struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityLogExported is that the actor exported the log.
	SecurityLogExported struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityTruncated is how many more there were within the minute than are told one by one.
	SecurityTruncated struct {
		Count int `json:"count"`
	}
)

func init() {
	register[SecurityAccessDenied]("security.access_denied")
	register[SecurityRateLimited]("security.rate_limited")
	register[SecurityLoginFailed]("security.login_failed")
	register[SecurityLogRead]("security.log_read")
	register[SecurityLogExported]("security.log_exported")
	register[SecurityTruncated]("security.truncated")
}
