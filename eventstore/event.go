package eventstore

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Record is an event as it is stored.
type Record struct {
	Position int64
	ID       uuid.UUID
	Stream   string
	Version  int
	Type     string
	At       time.Time // microseconds, UTC; never decreases with Position
	Actor    *uuid.UUID
	// Meta says from where the request of the actor came, exactly as written, as far as it is known: "ip" and "user_agent", each sealed under
	// the actor's data key, or under the workspace's when there is no actor, and "token_id". nil when nothing is known.
	Meta json.RawMessage
	Data json.RawMessage // exactly as written
}

// ScanRow is pgx.RowScanner for recordColumns, with as little work as there can be.
func (r *Record) ScanRow(row pgx.Rows) error { return r.scan(row) }

// scan reads recordColumns, and what a query has behind them.
func (r *Record) scan(row pgx.CollectableRow, more ...any) error {
	var id, actor pgtype.UUID // the driver would make a uuid.UUID of a text
	if err := row.Scan(append([]any{&r.Position, &id, &r.Stream, &r.Version, &r.Type, &r.At, &actor, (*[]byte)(&r.Meta), (*[]byte)(&r.Data)}, more...)...); err != nil {
		return err
	}
	if r.ID = id.Bytes; actor.Valid {
		r.Actor = (*uuid.UUID)(&actor.Bytes)
	}
	return nil
}

// AppendLine appends the record as one line of JSON, without the newline. Replay serves this line, and the Merkle leaf is its hash. The
// form of a line never changes.
func (r Record) AppendLine(line []byte) []byte {
	line = append(line, `{"position":`...)
	line = strconv.AppendInt(line, r.Position, 10)
	line = append(line, `,"id":"`...)
	line = append(line, r.ID.String()...)
	line = append(line, `","stream":`...)
	line = appendString(line, r.Stream)
	line = append(line, `,"version":`...)
	line = strconv.AppendInt(line, int64(r.Version), 10)
	line = append(line, `,"type":`...)
	line = appendString(line, r.Type)
	line = append(line, `,"at":"`...)
	line = r.At.UTC().AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","actor":`...)
	if r.Actor == nil {
		line = append(line, `null`...)
	} else {
		line = append(line, `"`+r.Actor.String()+`"`...)
	}
	line = append(line, `,"meta":`...)
	if r.Meta == nil {
		line = append(line, `null`...)
	} else {
		line = append(line, r.Meta...)
	}
	line = append(line, `,"data":`...)
	line = append(line, r.Data...)
	return append(line, '}')
}

// actor is Actor as a parameter of a statement, because the driver would turn a pointer into text first.
func (r Record) actor() (id uuid.NullUUID) {
	if r.Actor != nil {
		id = uuid.NullUUID{UUID: *r.Actor, Valid: true}
	}
	return id
}

// meta is Meta as a parameter of a statement.
func (r Record) meta() *string {
	if r.Meta == nil {
		return nil
	}
	text := string(r.Meta)
	return &text
}

func appendString(line []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string cannot fail
	return append(line, quoted...)
}

// MarshalJSON gives the line.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendLine(nil), nil }

// Append is what one command wants stored: all of its writes, or none. With a Key an Append may have no events. Then the key remembers,
// under the same conditions, that nothing was to be done.
type Append struct {
	Actor  uuid.UUID       // uuid.Nil for Kluis itself
	Meta   json.RawMessage // of all its records; without insignificant white space; nil for none
	Writes []Write
	Guards []Guard
	Proof  *Proof // nil: the caller was identified before
	Key    *Key
}

// Any is the Expected of a write that takes the stream as it is, because its decision did not read the stream.
const Any = -1

// Write adds events to a stream that is at version Expected; 0 for a stream that is not there yet. An Append without
// events has one Write without any.
type Write struct {
	Stream   string
	Expected int
	Events   []Event
}

// Event is an event to be stored. Data is JSON without insignificant white space.
type Event struct {
	Type string
	Data json.RawMessage
}

// Guard makes the append depend on a stream that the decision only read: the stream must still be at Version.
type Guard struct {
	Stream  string
	Version int
}

// Key makes an append happen once: a second append with the same key gets the answer of the first.
type Key struct {
	Key         [sha256.Size]byte // who, which operation, and the client's key
	Fingerprint [sha256.Size]byte // of what is asked for: the same key for something else is refused
	Answer      string            // JSON that the command is answered with besides its events; empty for nothing
	Kept        bool              // for ever, and not for KeyLife: of what is imported by an id of somewhere else
}

// KeyLife is for how long a key is remembered, unless it is kept.
const KeyLife = 24 * time.Hour

// Receipt is the outcome of an append.
type Receipt struct {
	First, Last int64 // the positions of its events; when it had none, Last is the head of then, and First the one behind it
	Records     []Record
	Repeated    bool   // the key was known: the positions are those of the first time, Records is empty
	Answer      string // of the first time, when Repeated
}

// MovedError says that a stream was not at the version on which the command decided.
type MovedError struct {
	Stream   string
	Expected int
	Actual   int
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("expected version %d, stream %s is at %d", e.Expected, e.Stream, e.Actual)
}

// KeyReusedError says that an idempotency key came back with another request.
type KeyReusedError struct{}

func (e *KeyReusedError) Error() string { return "the key was used for another request" }

// UnknownOutcomeError says that the answer of the database was lost, so that the append may be stored or not. The same key, or the same
// expected versions, make it safe to send the append again.
type UnknownOutcomeError struct{ Cause error }

func (e *UnknownOutcomeError) Error() string {
	return "it is not known whether it was stored: " + e.Cause.Error()
}
func (e *UnknownOutcomeError) Unwrap() error { return e.Cause }

// BusyError says that nothing was stored: too many appends wait for this workspace, or the database did not get to this one in time.
type BusyError struct {
	Waiting int
	Cause   error // of running out of time; else nil
}

func (e *BusyError) Error() string {
	if e.Cause != nil {
		return "the database did not get to it in time: " + e.Cause.Error()
	}
	return fmt.Sprintf("%d appends are waiting", e.Waiting)
}
func (e *BusyError) Unwrap() error { return e.Cause }

// ClockError says that nothing was stored: the last event of the log is further ahead of the database's clock than the difference of two
// right clocks can be. So one of the two clocks is, or was, wrong.
type ClockError struct{ Ahead time.Duration }

func (e *ClockError) Error() string {
	return fmt.Sprintf("the last event is %s ahead of the database's clock: set that clock right, or begin a new epoch with `kluis restored`", e.Ahead.Round(time.Second))
}

// Outage makes the error one that the caller may retry: once the clock is right, the same append is stored.
func (e *ClockError) Outage() pg.Outage { return pg.ClockWrong }

// GapError says that the log lacks an event: the next position was to be Want, and is Got, or 0 for none. Somebody tampered with the log,
// or Postgres lost a row.
type GapError struct{ Want, Got int64 }

func (e *GapError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("the log has a gap: position %d should come next, and it ends", e.Want)
	}
	return fmt.Sprintf("the log has a gap: position %d should come next, and %d comes", e.Want, e.Got)
}

// WentBackError says that nothing was stored: the log lacks an event that was its last one. Either a standby without that event became the
// primary, or an older copy was put back while the process went on.
type WentBackError struct {
	Epoch    int
	Had, Has int64 // the last position that was stored, and the last that there is
}

func (e *WentBackError) Error() string {
	return fmt.Sprintf("the log went back: what was stored at position %d of epoch %d is not there any more, and the log ends at %d", e.Had, e.Epoch, e.Has)
}

// UnknownTypeError says that an event was refused, because nobody could read it back.
type UnknownTypeError struct{ Type string }

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("event type %q is not registered: it could not be read back", e.Type)
}
