package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// enter makes a transaction a workspace's. Its settings end with the transaction. So a connection that is given back, to the pool or to a
// pooler in transaction mode, carries nothing of a workspace.
const (
	enter        = `select set_config('search_path', $2, true), set_config('role', $1, true)`
	enterBriefly = `select set_config('search_path', $2, true), set_config('lock_timeout', '100ms', true), set_config('role', $1, true)`
)

// onlyIn is a search_path of the schemas of path, and behind them that of temporary tables. Postgres would otherwise look there first.
func onlyIn(path string) string {
	if path == "" {
		return "pg_catalog, pg_temp"
	}
	return strings.TrimSuffix(path, ", pg_temp") + ", pg_temp"
}

// Tx is a transaction in one workspace. The statement that opens it travels with the first statements, and the one that ends it with
// the last: a transaction of one Commit is one round trip.
type Tx struct {
	conn    *pgxpool.Conn
	options pgx.TxOptions
	of      uuid.UUID // the workspace; uuid.Nil in a transaction of the owner
	role    string    // of the workspace; empty in a transaction of the owner
	path    string    // the search_path
	pins    bool      // the connection keeps no settings: they are part of the transaction
	brief   bool      // it waits a moment at most for a lock
	open    bool      // begun and not ended
	ended   bool
}

// Do runs statements in one transaction of the workspace, in one round trip. After an error for which Lost is true, the transaction may or may
// not have been committed.
func (db *DB) Do(ctx context.Context, w Workspace, statements ...Statement) error {
	return db.within(ctx, w, forWrites, pgx.TxOptions{}, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
}

// Read runs statements on one snapshot of the workspace, in one round trip. It does so again when the connection turns out to be dead, as
// those of a pool are after a restart of the server. Light statements share snapshot and round trip with others that come at the same
// moment: see glances.
func (db *DB) Read(ctx context.Context, w Workspace, statements ...Statement) (err error) {
	if !db.pooler && !db.owned && light(statements) && db.glance(ctx, w, statements) {
		return nil
	}
	for range 1 + deadConns {
		err = db.within(ctx, w, forReads, snapshot, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
		if err == nil || !deadConnection(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// In runs fn in one transaction of the workspace. When fn returns nil and has not committed itself, In commits. When fn returns an error, In
// rolls back.
func (db *DB) In(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.within(ctx, w, forWork, pgx.TxOptions{}, fn)
}

// Snapshot runs fn on one snapshot of the workspace, for reads of many round trips. It has a connection of the workspace's lane as long as fn
// runs. When fn takes long, fn sets the timeouts of its transaction.
func (db *DB) Snapshot(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.within(ctx, w, forWork, snapshot, fn)
}

// InShadow runs fn in one transaction of the owner on the tables of a shadow. No unqualified name leads to the live tables.
func (db *DB) InShadow(ctx context.Context, s Shadow, fn func(tx *Tx) error) error {
	return db.withinOwner(ctx, pgx.TxOptions{}, s.Schema(), fn)
}

// InAsOwner is In under the owner's role, for rebuilds and retention.
func (db *DB) InAsOwner(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.withinOwner(ctx, pgx.TxOptions{}, w.Schema(), fn)
}

// Workspace returns the id of the transaction's workspace; uuid.Nil in a transaction of the owner.
func (tx *Tx) Workspace() uuid.UUID { return tx.of }

// Script runs an SQL text of any number of statements, without parameters and without preparing it: for texts that are used once.
func (tx *Tx) Script(ctx context.Context, sql string) error {
	if !tx.open {
		if err := tx.roundTrip(ctx, nil, false); err != nil {
			return err
		}
	}
	_, err := tx.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Copy adds n rows to a table with COPY, in a round trip of its own. row returns the values of row i in the order of columns.
func (tx *Tx) Copy(ctx context.Context, table string, columns []string, n int, row func(i int) ([]any, error)) error {
	if !tx.open {
		if err := tx.roundTrip(ctx, nil, false); err != nil {
			return err
		}
	}
	_, err := tx.conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(n, row))
	return err
}

func (db *DB) within(ctx context.Context, w Workspace, u use, options pgx.TxOptions, fn func(tx *Tx) error) error {
	if db.owned {
		return db.withinOwner(ctx, options, w.Schema(), fn)
	}
	return db.gated(ctx, w, func(incarnation int64) error {
		once := func() error {
			conn, giveBack, err := db.lane(w).acquire(ctx, w, u)
			if err != nil {
				return err
			}
			defer giveBack()
			if db.Incarnation() != incarnation {
				return errChanged
			}
			return db.tx(conn, w, options).run(ctx, fn)
		}
		err := once()
		for try := 1; try < laneConns && elsewhere(err, u); try++ {
			err = once()
		}
		return err
	})
}

// gated calls the gate before do, and once more when do failed because the workspace lacked something. do gets the incarnation of the database in
// which the gate was passed.
func (db *DB) gated(ctx context.Context, w Workspace, do func(incarnation int64) error) error {
	if db.gate == nil {
		return do(db.Incarnation())
	}
	err := errChanged
	for try := 0; try <= changeTries && errors.Is(err, errChanged); try++ {
		incarnation := db.Incarnation()
		if err := db.gate(ctx, w, nil); err != nil {
			return err
		}
		err = do(incarnation)
	}
	if Is(err, UndefinedTable, UndefinedColumn, AccessDenied, NoSuchRole, NoSuchSchema) {
		if refused := db.gate(ctx, w, err); refused != nil {
			return refused
		}
	}
	return err
}

// changeTries is how often the database may become another one while a transaction waits for a connection.
const changeTries = 3

func (db *DB) withinOwner(ctx context.Context, options pgx.TxOptions, path string, fn func(tx *Tx) error) error {
	conn, err := acquire(ctx, db.owner)
	if err != nil {
		return err
	}
	defer conn.Release() // which closes a connection that is broken, or still in a transaction
	return (&Tx{conn: conn, options: db.options(options), path: onlyIn(path), pins: db.pooler}).run(ctx, fn)
}

// tx is a transaction of a workspace that has yet to begin on a connection of its lane.
func (db *DB) tx(conn *pgxpool.Conn, w Workspace, options pgx.TxOptions) *Tx {
	return &Tx{conn: conn, options: db.options(options), of: w.ID, role: w.Schema(), path: onlyIn(w.Schema()), pins: db.pooler}
}

func (tx *Tx) run(ctx context.Context, fn func(tx *Tx) error) error {
	if err := fn(tx); err != nil {
		tx.rollback(ctx)
		return err
	}
	if tx.open {
		return tx.Commit(ctx)
	}
	return nil
}

// Run sends statements in one round trip and reads their answers.
func (tx *Tx) Run(ctx context.Context, statements ...Statement) error {
	return tx.send(ctx, statements, false)
}

// Commit sends statements and the commit behind them in one round trip. After an error for which Lost is true, the transaction may or may not
// have been committed.
func (tx *Tx) Commit(ctx context.Context, statements ...Statement) error {
	return tx.send(ctx, statements, true)
}

func (tx *Tx) send(ctx context.Context, statements []Statement, last bool) error {
	if tx.ended {
		return errors.New("the transaction has ended")
	}
	if tx.open && tx.conn.Conn().PgConn().TxStatus() == 'E' { // Postgres would answer its commit with a rollback, and no error
		return errors.New("an earlier statement of the transaction has failed")
	}
	if !tx.open && !tx.prepared(statements) {
		if err := tx.roundTrip(ctx, nil, false); err != nil { // names of tables resolve only in the transaction
			return err
		}
	}
	if err := tx.prepare(ctx, statements); err != nil {
		return err
	}
	return tx.roundTrip(ctx, statements, last)
}

func (tx *Tx) roundTrip(ctx context.Context, statements []Statement, last bool) error {
	batch := &pgx.Batch{}
	entered := tx.open
	// What is sent at once is one transaction anyway: begin and commit would only cost time.
	whole := !tx.open && last && tx.options == (pgx.TxOptions{})
	if !tx.open {
		if !whole {
			batch.BeginTx(tx.options)
		}
		if tx.pins {
			batch.Queue(pinInside, pinNames, pinValues)
			if tx.of != uuid.Nil {
				batch.Queue(planByIndex)
			}
		}
		tx.queueEnter(batch, &entered)
	}
	tx.queue(batch, statements)
	if last && !whole {
		batch.Queue("commit")
	}
	tx.open = true
	err := tx.conn.Conn().SendBatch(ctx, batch).Close()
	if err == nil && last {
		tx.open, tx.ended = false, true
		err = acknowledged(ctx, tx.conn.Conn())
	}
	if !entered {
		return refused(ctx, tx.conn.Conn(), tx.role, err)
	}
	return err
}

// queueEnter queues the statement that takes the role, and sets entered when Postgres has taken it.
func (tx *Tx) queueEnter(batch *pgx.Batch, entered *bool) {
	sql, args := enter, []any{tx.role, tx.path}
	switch {
	case tx.role == "":
		sql, args = enterAsOwner, []any{tx.path}
	case tx.brief:
		sql = enterBriefly
	}
	batch.Queue(sql, args...).Exec(func(pgconn.CommandTag) error { *entered = true; return nil })
}

func (tx *Tx) rollback(ctx context.Context) {
	if tx.open {
		rollback(ctx, tx.conn.Conn())
	}
	tx.open, tx.ended = false, true
}

// rollback ends the transaction of a connection, if there is one. A connection on which that fails is closed when it is given back.
func rollback(ctx context.Context, conn *pgx.Conn) {
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, "rollback") // the connection is closed when it is given back in a transaction
	}
}

// queue queues statements by the names under which the connection has them, or by their texts.
func (tx *Tx) queue(batch *pgx.Batch, statements []Statement) {
	known := namesOf(tx.conn.Conn())
	for _, s := range statements {
		if name := known.get(tx.preparedFor(s.sql), s.sql); name != "" {
			s.queue(batch, name)
		} else {
			s.queue(batch, s.sql)
		}
	}
}

// prepared tells whether the connection has all of the statements prepared for this workspace.
func (tx *Tx) prepared(statements []Statement) bool {
	known := namesOf(tx.conn.Conn())
	for _, s := range statements {
		if known.get(tx.preparedFor(s.sql), s.sql) == "" {
			return false
		}
	}
	return true
}

// prepare prepares the statements that the connection does not have yet. It does so inside of the transaction, because names of tables
// resolve only there.
func (tx *Tx) prepare(ctx context.Context, statements []Statement) error {
	conn := tx.conn.Conn()
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil // a pooler may run the next transaction on another connection
	}
	names := namesOf(conn)
	for _, s := range statements {
		if names.get(tx.preparedFor(s.sql), s.sql) != "" {
			continue
		}
		name := tx.nameOf(s.sql)
		described, err := conn.Prepare(ctx, name, s.sql)
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		share(s.sql, described)
		names.add(tx.preparedFor(s.sql), s.sql, name)
	}
	return nil
}

// preparedFor is the workspace under whose names a statement is prepared. It is uuid.Nil for a statement of the owner, and for one that names no
// table.
func (tx *Tx) preparedFor(text string) uuid.UUID {
	if strings.HasPrefix(text, "set local ") {
		return uuid.Nil
	}
	return tx.of
}

// nameOf is the name under which a statement is prepared: that of the workspace's role and a number, together below the 63 bytes that Postgres
// tells apart. A statement of no workspace has its text for a name, of which pgx makes a shorter one.
func (tx *Tx) nameOf(text string) string {
	if tx.preparedFor(text) == uuid.Nil {
		return text
	}
	number, known := numbers.Load(text)
	if !known {
		number, _ = numbers.LoadOrStore(text, lastNumber.Add(1))
	}
	return fmt.Sprintf("%s_%d", tx.role, number)
}

// numbers has a number for each SQL text of the program.
var (
	numbers    sync.Map
	lastNumber atomic.Int64
)
