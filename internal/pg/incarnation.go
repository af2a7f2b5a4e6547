package pg

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// A database may become another one while a process runs: by a failover, a recovery to a point in time, or a dump that is put back under its name. It may
// then lack what was committed last, so whatever a gate knows of a workspace it has to look up again:
//
//  1. Every connection looks which database it was made to, before anybody has it. The first one to another database counts Incarnation up.
//  2. A transaction in a workspace passes the gate and takes a connection. It begins when Incarnation is still what it was before the gate; otherwise it
//     passes the gate again.
//  3. A connection to a standby serves no workspace behind a gate: it would stay when the standby is promoted.
//
// Through a pooler a connection of ours is none to Postgres, so Watch looks, too.
type incarnation struct {
	count atomic.Int64

	mu      sync.Mutex
	is      string
	changed chan struct{} // closed when it has; made when somebody asks
}

// whichDatabase gives kluis.incarnation() of migrations/control/001_directory.sql, which is not there before the first start; empty on a standby.
const whichDatabase = `select case when pg_catalog.pg_is_in_recovery() then '' else pg_catalog.concat_ws('/', (select system_identifier from pg_catalog.pg_control_system()),
	(select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()), pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)) end`

// Incarnation counts the databases that this process has seen at its URL, one after the other. One that comes back counts again.
func (db *DB) Incarnation() int64 { return db.incarnation.count.Load() }

// Changed is closed when Incarnation has changed since it was asked for.
func (db *DB) Changed() <-chan struct{} {
	i := &db.incarnation
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.changed == nil {
		i.changed = make(chan struct{})
	}
	return i.changed
}

func (i *incarnation) note(is string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if is == i.is {
		return
	}
	if i.is != "" {
		i.count.Add(1)
		if i.changed != nil {
			close(i.changed)
			i.changed = nil
		}
	}
	i.is = is
}

// asking is a connection or a transaction, which can be asked which database it is of.
type asking interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// meet looks which database is at the other end.
func (db *DB) meet(ctx context.Context, conn asking) error {
	var is string
	if err := conn.QueryRow(ctx, whichDatabase, pgx.QueryExecModeSimpleProtocol).Scan(&is); err != nil {
		return fmt.Errorf("look which database it is: %w", err)
	}
	if is != "" {
		db.incarnation.note(is)
	}
	return nil
}

// notStandby refuses a connection to a standby, of which Postgres tells at the start.
func (db *DB) notStandby(conn *pgx.Conn) error {
	if db.gate != nil && conn.PgConn().ParameterStatus("in_hot_standby") == "on" {
		return errStandby
	}
	return nil
}

// watchPause is for how long a pooler may have led to another database before that is noticed.
const watchPause = time.Second

// Watch looks now and then which database a pooler leads to, until ctx ends.
func (db *DB) Watch(ctx context.Context) {
	for db.pooler {
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
			return
		}
		_ = db.Control(ctx, func(tx pgx.Tx) error { // while it cannot be reached, nothing is served
			return db.meet(ctx, tx)
		})
	}
}

// doubtError is the error of a transaction that did not begin, because nobody knows yet what the database has.
type doubtError struct {
	says   string
	outage Outage
}

func (e doubtError) Error() string  { return e.says }
func (e doubtError) Outage() Outage { return e.outage }
func (e doubtError) Lost() bool     { return false }

var (
	errStandby error = doubtError{"the database is a standby, and serves nothing until it is promoted", ReadOnlyNow}
	errOther   error = doubtError{"the database became another one", Unreachable}
)
