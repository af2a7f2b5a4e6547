package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes that the program acts on (Postgres manual, appendix A).
const (
	UniqueViolation  = "23505"
	LockNotAvailable = "55P03"
	Deadlock         = "40P01"
	UndefinedTable   = "42P01"
	UndefinedColumn  = "42703"
	AccessDenied     = "42501"
	NoSuchRole       = "22023"
	NoSuchSchema     = "3F000"
	ReadOnly         = "25006"
)

// Is tells whether err is an answer of Postgres with one of the SQLSTATE codes.
func Is(err error, codes ...string) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	for _, code := range codes {
		if pgErr.Code == code {
			return true
		}
	}
	return false
}

// Lost tells whether err is the loss of a connection, and no answer of Postgres to what was sent. An error may say so itself, by a method
// Lost: the error of a Gate says that it is no loss.
func Lost(err error) bool {
	var said interface{ Lost() bool }
	if errors.As(err, &said) {
		return said.Lost()
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return ends(pgErr)
	}
	return !errors.Is(err, pgx.ErrNoRows)
}

// ErrNoConnection says that every connection of the pool stayed in use for as long as the caller waited.
var ErrNoConnection = errors.New("no connection is free")

// ErrReadOnly says that the database answers, and takes no changes.
var ErrReadOnly = errors.New("the database is read-only")

// Outage names why Postgres could not do, at the moment, what is right in itself: the caller may ask again later.
type Outage string

const (
	Unreachable Outage = "database_unavailable" // gone, starting, stopping, or refusing connections
	Busy        Outage = "database_busy"        // no connection, no lock or no answer in time
	ReadOnlyNow Outage = "database_read_only"   // a standby, or a primary that was told to take no changes
	Full        Outage = "database_full"        // no room on its disk, or in its memory
	Closed      Outage = "workspace_closed"     // no login may take the workspace's role: the workspace is closed, or being erased
	ClockWrong  Outage = "database_clock"       // far behind what the clock said before: see eventstore.ClockError
)

// OutageOf tells whether err is an outage, and which one. The class of the SQLSTATE decides. Whatever ends a connection, or keeps one from
// being made, is an outage too. An error may name its outage itself, by a method Outage.
func OutageOf(err error) (o Outage, is bool) {
	var said interface{ Outage() Outage }
	if errors.As(err, &said) {
		return said.Outage(), true
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if o, is = outageOf(pgErr); !is && (ends(pgErr) || unconnected(err)) {
			return Unreachable, true
		}
		return o, is
	}
	var netErr net.Error
	switch {
	case errors.Is(err, ErrReadOnly):
		return ReadOnlyNow, true
	case errors.Is(err, ErrNoConnection), errors.Is(err, context.DeadlineExceeded):
		return Busy, true
	case unconnected(err), errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), pgconn.SafeToRetry(err):
		return Unreachable, true
	}
	return "", false
}

// ends tells whether err ends its connection. A PANIC ends all of Postgres. It may follow the record of a commit, for instance when the record
// cannot be flushed to the disk.
func ends(err *pgconn.PgError) bool {
	return err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC"
}

// unconnected tells whether err says that no connection could be made.
func unconnected(err error) bool {
	return errors.As(err, new(*pgconn.ConnectError))
}

// deadConnection tells whether err says that a connection of the pool turned out to be dead: another connection may do.
func deadConnection(err error) bool {
	return Lost(err) && !unconnected(err) && !errors.Is(err, ErrNoConnection)
}

// Unsent tells whether err says that nothing was sent to Postgres. No connection was free, or none could be made, or the process does not know
// yet which database it reaches.
func Unsent(err error) bool {
	return unconnected(err) || errors.Is(err, ErrNoConnection) || errors.As(err, new(doubtError))
}

// deadConns is how many connections of the pool may turn out to be dead, one after the other, as after a restart of the server.
const deadConns = 10

// outageOf knows the codes of appendix A of the manual of Postgres 18.
func outageOf(err *pgconn.PgError) (Outage, bool) {
	switch err.Code {
	case ReadOnly:
		return ReadOnlyNow, true
	case "53300", "53400", LockNotAvailable, Deadlock, "40001", "57014", "72000", "25P03", "25P04", "57P05": // too many; locks; timeouts
		return Busy, true
	case "57P01", "57P02", "57P03", "57P04": // stopping, starting, dropped
		return Unreachable, true
	}
	switch {
	case strings.HasPrefix(err.Code, "53"):
		return Full, true
	case strings.HasPrefix(err.Code, "08"), strings.HasPrefix(err.Code, "58"):
		return Unreachable, true
	}
	switch err.Routine { // what says so, where the code is also that of a defect
	case "GetNewTransactionId", "GetNewMultiXactId": // 54000: no numbers are left until the old ones are vacuumed away
		return ReadOnlyNow, true
	case "mdextend", "mdzeroextend": // XX000: a file of a table may not grow, as with a quota of the disk
		return Full, true
	case checksPlan: // 0A000: another connection does it
		return Busy, true
	}
	return "", false
}
