package pg_test

import (
	"errors"
	"testing"

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
		{&pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR"}, false},
	} {
		if pg.Lost(c.err) != c.lost {
			t.Errorf("%#v: lost %v", c.err, !c.lost)
		}
	}
}
