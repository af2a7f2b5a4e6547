package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A server that speaks another language says the severity in that; what it means is beside it.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		err  error
		lost bool
	}{
		{errors.New("unexpected EOF"), true},
		{&pgconn.PgError{Severity: "FATALE", SeverityUnlocalized: "FATAL"}, true},
		{&pgconn.PgError{Severity: "PANIK", SeverityUnlocalized: "PANIC", Code: "58030"}, true}, // of the flush behind the record of a commit
		{&pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR"}, false},
	} {
		if pg.Lost(c.err) != c.lost {
			t.Errorf("%#v: lost %v", c.err, !c.lost)
		}
	}
}

// What is right and cannot be done now is an outage. What is wrong is none: it would be asked again for ever.
func TestOutageOf(t *testing.T) {
	said := func(code string) error { return &pgconn.PgError{Code: code, SeverityUnlocalized: "ERROR"} }
	by := func(routine, code string) error {
		return &pgconn.PgError{Code: code, Routine: routine, SeverityUnlocalized: "ERROR"}
	}
	_, unreachable := pgx.Connect(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	for name, c := range map[string]struct {
		err  error
		want pg.Outage
	}{
		"nobody listens":         {unreachable, pg.Unreachable},
		"the other end is gone":  {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), pg.Unreachable},
		"starting":               {said("57P03"), pg.Unreachable},
		"terminated":             {said("57P01"), pg.Unreachable},
		"any end of a session":   {&pgconn.PgError{Code: "XX000", SeverityUnlocalized: "FATAL"}, pg.Unreachable},
		"connections of another": {said("08006"), pg.Unreachable},
		"an I/O error":           {said("58030"), pg.Unreachable},
		"the pool is in use":     {pg.ErrNoConnection, pg.Busy},
		"out of time":            {fmt.Errorf("timeout: %w", context.DeadlineExceeded), pg.Busy},
		"too many connections":   {said("53300"), pg.Busy},
		"a lock":                 {said(pg.LockNotAvailable), pg.Busy},
		"a deadlock":             {said(pg.Deadlock), pg.Busy},
		"a slow statement":       {said("57014"), pg.Busy},
		"idle too long":          {said("25P03"), pg.Busy},
		"a standby":              {said(pg.ReadOnly), pg.ReadOnlyNow},
		"told to be read-only":   {pg.ErrReadOnly, pg.ReadOnlyNow},
		"a full disk":            {said("53100"), pg.Full},
		"no memory":              {said("53200"), pg.Full},

		"any end of the server": {&pgconn.PgError{Code: "XX000", SeverityUnlocalized: "PANIC"}, pg.Unreachable},
		"a snapshot too old":    {said("72000"), pg.Busy},
		"no transaction ids":    {by("GetNewTransactionId", "54000"), pg.ReadOnlyNow},
		"no multixact ids":      {by("GetNewMultiXactId", "54000"), pg.ReadOnlyNow},
		"over a quota":          {by("mdextend", "XX000"), pg.Full},

		"a long index row": {by("_bt_check_third_page", "54000"), ""},
		"a bug":            {by("relation_open", "XX000"), ""},

		"no row":          {pgx.ErrNoRows, ""},
		"a unique value":  {said(pg.UniqueViolation), ""},
		"a missing table": {said(pg.UndefinedTable), ""},
		"denied":          {said(pg.AccessDenied), ""},
		"a caller left":   {context.Canceled, ""},
		"of ours":         {errOurs, ""},
		"nothing":         {nil, ""},
	} {
		if got, is := pg.OutageOf(c.err); got != c.want || is != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, is, c.want)
		}
	}
}
