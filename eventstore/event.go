package eventstore

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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
	// Meta describes the actor's request, exactly as written: "ip" and "user_agent", each sealed under the actor's data key, or under the
	// workspace's when there is no actor, and "token_id". Unknown fields are absent; nil when all are unknown.
	Meta json.RawMessage
	Data json.RawMessage // exactly as written
}

// ScanRow is pgx.RowScanner for recordColumns.
func (r *Record) ScanRow(row pgx.Rows) error { return r.scan(row) }

// scan reads recordColumns, followed by the query's further columns. A replay has millions of rows, so the binary values are read here: the driver looks up
// for each how it is scanned.
func (r *Record) scan(row pgx.CollectableRow, more ...any) error {
	raw := row.RawValues()
	if row.FieldDescriptions()[0].Format != pgx.BinaryFormatCode {
		return r.scanText(row, more...)
	}
	if len(raw[0]) != 8 || len(raw[1]) != 16 || len(raw[3]) != 4 || len(raw[5]) != 8 || raw[6] != nil && len(raw[6]) != 16 {
		return errors.New("a row of the log has values of other types than the program reads")
	}
	r.Position, r.Version = int64(binary.BigEndian.Uint64(raw[0])), int(int32(binary.BigEndian.Uint32(raw[3])))
	r.ID, r.Stream, r.Type = uuid.UUID(raw[1]), string(raw[2]), string(raw[4])
	r.At = time.UnixMicro(int64(binary.BigEndian.Uint64(raw[5])) + wireEpoch).UTC()
	if raw[6] != nil {
		actor := uuid.UUID(raw[6])
		r.Actor = &actor
	}
	text := append(append(make([]byte, 0, len(raw[7])+len(raw[8])), raw[7]...), raw[8]...) // the driver uses its memory again
	if raw[7] != nil {
		r.Meta = text[:len(raw[7]):len(raw[7])]
	}
	r.Data = text[len(raw[7]):]
	if len(more) == 0 {
		return nil
	}
	return row.Scan(append(make([]any, len(raw)-len(more)), more...)...)
}

// wireEpoch is what times on the wire count from, 2000-01-01, in microseconds since 1970.
const wireEpoch = 946_684_800_000_000

// scanText is scan where values come as text: with the simple protocol.
func (r *Record) scanText(row pgx.CollectableRow, more ...any) error {
	return row.Scan(append([]any{&r.Position, &r.ID, &r.Stream, &r.Version, &r.Type, &r.At, &r.Actor, (*[]byte)(&r.Meta), (*[]byte)(&r.Data)}, more...)...)
}

// AppendLine appends the record as one line of JSON, without the newline. Replay serves this line, and the Merkle leaf is its hash. The
// form of a line never changes.
func (r Record) AppendLine(line []byte) []byte {
	line = append(line, `{"position":`...)
	line = strconv.AppendInt(line, r.Position, 10)
	line = append(line, `,"id":`...)
	line = appendID(line, r.ID)
	line = append(line, `,"stream":`...)
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
		line = appendID(line, *r.Actor)
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

// actor gives Actor as a parameter of a statement. For a pointer the driver would go through text.
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

// appendString appends a text in JSON, as json.Marshal writes it. Streams and types need no escapes.
func appendString(line []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\\<>&`, c) >= 0 {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(line, quoted...)
		}
	}
	line = append(line, '"')
	line = append(line, s...)
	return append(line, '"')
}

// appendID appends an id in JSON.
func appendID(line []byte, id uuid.UUID) []byte {
	line = append(line, '"')
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			line = append(line, '-')
		}
		line = hex.AppendEncode(line, part)
	}
	return append(line, '"')
}

// MarshalJSON gives the line.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendLine(nil), nil }

// Append is the writes of one command, of which all are stored or none. An Append with a Key may have no events. Then the key records, under
// the same conditions, that the command had nothing to do.
type Append struct {
	Actor  uuid.UUID       // uuid.Nil for Kluis itself
	Meta   json.RawMessage // of all records of the append, without insignificant white space; nil for none
	Writes []Write
	Guards []Guard
	Proof  *Proof // nil: the caller was identified before
	Key    *Key
}

// Any is the Expected of a write whose decision did not read the stream: every version will do.
const Any = -1

// Write adds events to a stream that is at version Expected; 0 for a new stream. An Append without events has one Write without events.
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
	Key         [sha256.Size]byte // the hash of the caller, the operation and the client's key
	Fingerprint [sha256.Size]byte // of the request: the same key with another fingerprint is refused
	Answer      string            // JSON of the command's answer besides its events; empty for none
	Kept        bool              // for ever, and not for KeyLife: the key of an imported thing
}

// KeyLife is how long a key is remembered, unless it is Kept.
const KeyLife = 24 * time.Hour

// Receipt is the outcome of an append.
type Receipt struct {
	First, Last int64 // the positions of the events; without events, Last is the position of the head and First is Last + 1
	Records     []Record
	Repeated    bool   // the key was known: the positions are those of the first append, and Records is empty
	Answer      string // the answer of the first append, when Repeated
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

// UnknownOutcomeError says that the answer of the database was lost, so that the append may be stored or not. With the same key, or the same
// expected versions, the append can safely be sent again.
type UnknownOutcomeError struct{ Cause error }

func (e *UnknownOutcomeError) Error() string {
	return "it is not known whether the append was stored: " + e.Cause.Error()
}
func (e *UnknownOutcomeError) Unwrap() error { return e.Cause }

// BusyError says that nothing was stored, because too many appends wait for this workspace, or because the time ran out before the append
// was sent.
type BusyError struct {
	Waiting int
	Cause   error // why the time ran out; nil when too many wait
}

func (e *BusyError) Error() string {
	if e.Cause != nil {
		return "the append was not sent to the database in time: " + e.Cause.Error()
	}
	return fmt.Sprintf("%d appends are waiting for this workspace already", e.Waiting)
}
func (e *BusyError) Unwrap() error { return e.Cause }

// ClockError says that nothing was stored, because the last event of the log is further ahead of the database's clock than two right clocks
// can differ. The present clock is wrong, or the clock of the last event was wrong.
type ClockError struct{ Ahead time.Duration }

func (e *ClockError) Error() string {
	return fmt.Sprintf("the last event is %s ahead of the database's clock: set that clock right, or begin a new epoch with `kluis restored`", e.Ahead.Round(time.Second))
}

// Outage says that the caller may retry: once the clock is right, the same append is stored.
func (e *ClockError) Outage() pg.Outage { return pg.ClockWrong }

// GapError says that the log lacks an event: the next position should be Want and is Got, or 0 when the log ends. The log was tampered
// with, or Postgres lost a row.
type GapError struct{ Want, Got int64 }

func (e *GapError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("the log has a gap: position %d should come next, and the log ends", e.Want)
	}
	return fmt.Sprintf("the log has a gap: position %d should come next, and %d comes", e.Want, e.Got)
}

// WentBackError says that nothing was stored, because the log lacks an event that was its last one. Either a standby without that event
// became the primary, or an older copy was restored under the running process.
type WentBackError struct {
	Epoch    int
	Had, Has int64 // the last position before, and the last position now
}

func (e *WentBackError) Error() string {
	return fmt.Sprintf("the log went back: the event that was stored at position %d of epoch %d is missing, and the log ends at %d", e.Had, e.Epoch, e.Has)
}

// UnknownTypeError says that an event was refused, because its type is not registered and no reader could decode it.
type UnknownTypeError struct{ Type string }

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("event type %q is not registered, so no reader could decode the event", e.Type)
}
