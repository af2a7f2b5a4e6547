package domain

import "github.com/google/uuid"

// SecurityStream is the stream of refused requests and of reads of the log. No decision and no read model depends on the stream: its events
// are for the readers of the log.
const SecurityStream = "security"

// The events of the security stream. The first of several like requests within a minute has an event of its own, and the others share one
// event with a count, so that refused requests cannot fill the log. Operation is the operation's id in the schema of the API, Code is the
// code of the problem that was answered, and TokenID is the API token of the request.
type (
	// SecurityAccessDenied is a request that the caller's role does not grant (403), or about a thing that the caller cannot see (404). The
	// event is the same whether the thing exists or not: otherwise a caller could tell the two cases apart by the position of the log. A
	// reader of the event can look the ids up.
	SecurityAccessDenied struct {
		Operation string      `json:"operation"`
		Code      string      `json:"code"`
		Noun      string      `json:"noun,omitempty"`      // the noun of the things
		ThingIDs  []uuid.UUID `json:"thing_ids,omitempty"` // the first ten things that were requested
		TokenID   *uuid.UUID  `json:"token_id,omitempty"`
		Count     int         `json:"count"`
	}
	// SecurityRateLimited is a request beyond the member's limit (429).
	SecurityRateLimited struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityLoginFailed is a wrong password or code for an address without an account. The event does not hold the address.
	SecurityLoginFailed struct {
		Operation string `json:"operation"`
		Code      string `json:"code"`
		Count     int    `json:"count"`
	}
	// SecurityLogRead says that the actor read the log.
	SecurityLogRead struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityLogExported says that the actor exported the log.
	SecurityLogExported struct {
		Operation string     `json:"operation"`
		TokenID   *uuid.UUID `json:"token_id,omitempty"`
		Count     int        `json:"count"`
	}
	// SecurityTruncated counts the requests of a minute that have no event of their own.
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
