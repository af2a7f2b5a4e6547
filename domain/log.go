package domain

import "time"

// LogStream is the stream of what happens to the log itself.
const LogStream = "log"

// LogPruned says that the records up to a position are gone by policy. What they made is in baselines, and their hashes stay: so the
// log goes on to verify, from here and against checkpoints of before.
type LogPruned struct {
	UpTo             int64     `json:"up_to"`
	At               time.Time `json:"at"`        // of the record there: the log tells everything from that moment on
	Root             string    `json:"root"`      // over the records up to there, in base64 (RFC 6962)
	Tree             []string  `json:"tree"`      // the roots of its full subtrees, the largest first, of which Root is made: from them on the records that are left are hashed
	Baselines        string    `json:"baselines"` // SHA-256, in hex, over what the records up to there have made: the lines of log/baselines.ndjson of an export
	Plan             string    `json:"plan"`
	RetentionSeconds int       `json:"retention_seconds"` // what was in force
}

func init() { register[LogPruned]("log.pruned") }

// Pruned refuses what was asked of a time, or of records, before the horizon: the records up to a position are gone by policy.
func Pruned(position int64, at time.Time) error {
	r := Refuse(Gone, "pruned", "the records up to position %d, of %s, were pruned as the plan of the workspace says", position, at.UTC().Format(time.RFC3339Nano))
	r.Horizon = &Horizon{Position: position, At: at.UTC()}
	return r
}

// Horizon is how far back a log goes: everything behind a position, and everything that was after a moment.
type Horizon struct {
	Position int64     `json:"position"` // of the last record that was pruned
	At       time.Time `json:"at"`       // and its time
}
