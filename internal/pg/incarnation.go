package pg

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// A database may become another one while a process runs: by a failover, by a recovery to a point in time, or by a dump that is restored under
// the same name. The other one may lack what was committed last, so a gate has to look up again whatever it knows of a workspace:
//
//  1. Every new connection asks which database it reaches, before anybody uses it. The first connection to another database counts
//     Incarnation up.
//  2. A transaction in a workspace notes Incarnation, passes the gate, and waits for a connection. When Incarnation is another by then, the
//     transaction passes the gate again before it begins.
//  3. A connection to a standby serves no workspace behind a gate, because that connection would stay open when the standby is promoted.
//
// Through a pooler a new connection says nothing of the server behind it, so Watch asks once a second as well.
type incarnation struct {
	count atomic.Int64

	mu      sync.Mutex
	current string        // which database it is; empty before the first connection
	changed chan struct{} // closed when the database has changed; nil until somebody asks for it
}

// whichDatabase is what kluis.incarnation() of migrations/control/001_directory.sql returns, a function that is not there before the first
// start. It is empty on a standby.
const whichDatabase = `select case when pg_catalog.pg_is_in_recovery() then '' else pg_catalog.concat_ws('/', (select system_identifier from pg_catalog.pg_control_system()),
	(select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()), pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)) end`

// Incarnation counts the databases that the process has found at its URL, one after the other. A database that comes back counts again.
func (db *DB) Incarnation() int64 { return db.incarnation.count.Load() }

// Changed returns a channel that is closed when Incarnation changes.
func (db *DB) Changed() <-chan struct{} {
	i := &db.incarnation
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.changed == nil {
		i.changed = make(chan struct{})
	}
	return i.changed
}

func (i *incarnation) note(database string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if database == i.current {
		return
	}
	if i.current != "" {
		i.count.Add(1)
		if i.changed != nil {
			close(i.changed)
			i.changed = nil
		}
	}
	i.current = database
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// identify asks which database is at the other end, and notes it.
func (db *DB) identify(ctx context.Context, conn querier) error {
	var database string
	if err := conn.QueryRow(ctx, whichDatabase, pgx.QueryExecModeSimpleProtocol).Scan(&database); err != nil {
		return fmt.Errorf("ask which database this is: %w", err)
	}
	if database != "" {
		db.incarnation.note(database)
	}
	return nil
}

// notStandby refuses a connection to a standby. Postgres says at the start of a connection whether it is one.
func (db *DB) notStandby(conn *pgx.Conn) error {
	if db.gate != nil && conn.PgConn().ParameterStatus("in_hot_standby") == "on" {
		return errStandby
	}
	return nil
}

// watchPause is for how long a pooler may lead to another database before Watch notices.
const watchPause = time.Second

// Watch asks once a watchPause which database a pooler leads to, until ctx ends. Without a pooler it returns at once.
func (db *DB) Watch(ctx context.Context) {
	for db.pooler {
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
			return
		}
		_ = db.Control(ctx, func(tx pgx.Tx) error { // an error needs no answer: what cannot be reached serves nothing
			return db.identify(ctx, tx)
		})
	}
}

// doubtError is the error of a transaction that did not begin, because the process does not know yet what the database has.
type doubtError struct {
	says   string
	outage Outage
}

func (e doubtError) Error() string  { return e.says }
func (e doubtError) Outage() Outage { return e.outage }
func (e doubtError) Lost() bool     { return false }

var (
	errStandby error = doubtError{"the database is a standby, and serves nothing until it is promoted", ReadOnlyNow}
	errChanged error = doubtError{"the database became another one", Unreachable}
)
