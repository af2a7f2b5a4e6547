package domain

import "time"

// LogStream is the stream of events about the log itself.
const LogStream = "log"

// LogPruned says that the records up to a position were deleted by policy. The baselines keep the states that those records made, and the
// log keeps their hashes. So the rest of the log still verifies, also against older checkpoints.
type LogPruned struct {
	UpTo             int64     `json:"up_to"`
	At               time.Time `json:"at"`        // the time of the record at that position: the log is complete from that moment on
	Root             string    `json:"root"`      // over the records up to that position, in base64 (RFC 6962)
	Tree             []string  `json:"tree"`      // the roots of the full subtrees that make up Root, the largest first: the hashes of the remaining records continue from them
	Baselines        string    `json:"baselines"` // SHA-256, in hex, over the baselines: the lines of log/baselines.ndjson in an export
	Plan             string    `json:"plan"`
	RetentionSeconds int       `json:"retention_seconds"` // the retention in force
}

func init() { register[LogPruned]("log.pruned") }

// Pruned refuses a question about a time, or about records, before the horizon.
func Pruned(position int64, at time.Time) error {
	r := Refuse(Gone, "pruned", "the records up to position %d, of %s, were pruned after the retention of the workspace: ask for a later position or time", position, at.UTC().Format(time.RFC3339Nano))
	r.Horizon = &Horizon{Position: position, At: at.UTC()}
	return r
}

// Horizon is how far back a log reaches. The log has every record after the position, and every record after the moment.
type Horizon struct {
	Position int64     `json:"position"` // of the last record that was pruned
	At       time.Time `json:"at"`       // the time of that record
}
