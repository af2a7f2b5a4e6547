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

// enter is what makes a transaction a workspace's. The settings end with the transaction, so that a
// connection given back, to us or to a pooler in transaction mode, carries nothing of a workspace.
const (
	enter        = `select set_config('search_path', $2, true), set_config('role', $1, true)`
	enterBriefly = `select set_config('search_path', $2, true), set_config('lock_timeout', '100ms', true), set_config('role', $1, true)`
)

// onlyIn is a search_path with the schemas of path, and after them, where Postgres would otherwise look first, those of
// temporary tables, which nobody makes.
func onlyIn(path string) string {
	if path == "" {
		return "pg_catalog, pg_temp"
	}
	return strings.TrimSuffix(path, ", pg_temp") + ", pg_temp"
}

// Tx is a transaction in one workspace. The statement that opens it, and the one that ends it, travel
// with the first and the last statements: a transaction of one Commit is one round trip.
type Tx struct {
	conn    *pgxpool.Conn
	options pgx.TxOptions
	of      uuid.UUID // the workspace; uuid.Nil: the owner's
	role    string    // empty: the owner's
	path    string
	pins    bool // the connection keeps no settings: they are part of the transaction
	brief   bool // it waits for a lock a moment at most
	open    bool // begun and not ended
	ended   bool
}

// Do runs statements in one transaction of the workspace, in one round trip.
func (db *DB) Do(ctx context.Context, w Workspace, statements ...Statement) (err error) {
	for range 1 + deadConns {
		err = db.within(ctx, w, forWrites, pgx.TxOptions{}, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
		if !elsewhere(err) {
			return err
		}
	}
	return err
}

// Read runs statements on one snapshot of the workspace, in one round trip. It does so again when the
// connection turns out to be dead, as those of a pool are after the server was restarted. Light statements share snapshot and round
// trip with others that come at the same moment: see glances.
func (db *DB) Read(ctx context.Context, w Workspace, statements ...Statement) (err error) {
	if !db.pooler && !db.owned && light(statements) && db.glance(ctx, w, statements) {
		return nil
	}
	for range 1 + deadConns {
		err = db.within(ctx, w, forReads, snapshot, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
		if err == nil || !again(err) && !elsewhere(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// In runs fn in one transaction of the workspace; it commits when fn returns nil without having
// committed itself, and rolls back otherwise.
func (db *DB) In(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.within(ctx, w, forWork, pgx.TxOptions{}, fn)
}

// Snapshot runs fn on one snapshot of the workspace, for what is read in many round trips. It takes a connection of the workspace's lane
// as long as fn does; whoever takes long sets the timeouts of its transaction.
func (db *DB) Snapshot(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.within(ctx, w, forWork, snapshot, fn)
}

// InShadow runs fn in one transaction of the owner on the tables of a shadow alone: no name leads to the live ones.
func (db *DB) InShadow(ctx context.Context, s Shadow, fn func(tx *Tx) error) error {
	return db.withinOwner(ctx, pgx.TxOptions{}, s.Schema(), fn)
}

// InAsOwner is In as the owner, for rebuilds and retention.
func (db *DB) InAsOwner(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.withinOwner(ctx, pgx.TxOptions{}, w.Schema(), fn)
}

// Workspace is the id of the transaction's workspace; uuid.Nil for the owner's.
func (tx *Tx) Workspace() uuid.UUID { return tx.of }

// Script runs an SQL text without parameters, of any number of statements, that is used once: it is not prepared.
func (tx *Tx) Script(ctx context.Context, sql string) error {
	if !tx.open {
		if err := tx.roundTrip(ctx, nil, false); err != nil {
			return err
		}
	}
	_, err := tx.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Copy adds n rows to a table with COPY, in a round trip of its own. row gives the values of the i-th in the order of columns.
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
		conn, giveBack, err := db.lane(w).acquire(ctx, w, u)
		if err != nil {
			return err
		}
		defer giveBack()
		if db.Incarnation() != incarnation {
			return errOther
		}
		return db.tx(conn, w, options).run(ctx, fn)
	})
}

// gated asks the gate before do, and once more when do failed for what the workspace lacks. do is told in which incarnation of the database the gate
// was passed.
func (db *DB) gated(ctx context.Context, w Workspace, do func(incarnation int64) error) error {
	if db.gate == nil {
		return do(db.Incarnation())
	}
	err := errOther
	for try := 0; try <= otherTries && errors.Is(err, errOther); try++ {
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

// otherTries is how often the database may become another one while a transaction waits for a connection.
const otherTries = 3

func (db *DB) withinOwner(ctx context.Context, options pgx.TxOptions, path string, fn func(tx *Tx) error) error {
	conn, err := acquire(ctx, db.owner)
	if err != nil {
		return err
	}
	defer conn.Release() // a connection still in a transaction, or broken, is closed and not given back
	return (&Tx{conn: conn, options: db.options(options), path: onlyIn(path), pins: db.pooler}).run(ctx, fn)
}

// tx is a transaction of a workspace that is to begin on a connection of its lane.
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

// Commit sends statements and the commit behind them in one round trip. After an error that is not
// Postgres' own (a lost connection) the transaction may or may not have been committed.
func (tx *Tx) Commit(ctx context.Context, statements ...Statement) error {
	return tx.send(ctx, statements, true)
}

func (tx *Tx) send(ctx context.Context, statements []Statement, last bool) error {
	if tx.ended {
		return fmt.Errorf("transaction has ended")
	}
	if tx.open && tx.conn.Conn().PgConn().TxStatus() == 'E' { // Postgres answers its commit with a rollback, and no error
		return fmt.Errorf("transaction has failed before")
	}
	if !tx.open && !tx.prepared(statements) {
		if err := tx.roundTrip(ctx, nil, false); err != nil { // names resolve only inside
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
	// what is sent at once is one transaction anyway, and begin and commit would only cost
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
		return closed(tx.conn.Conn(), err)
	}
	return err
}

// queueEnter queues what takes the role, and notes when it was taken.
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
	if tx.open && !tx.conn.Conn().IsClosed() && tx.conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = tx.conn.Exec(ctx, "rollback") // Release closes the connection when this failed
	}
	tx.open, tx.ended = false, true
}

// queue queues statements under the names that they have on the connection.
func (tx *Tx) queue(batch *pgx.Batch, statements []Statement) {
	known := namesOf(tx.conn.Conn())
	for _, s := range statements {
		if name := known.of[tx.owner(s.sql)][s.sql]; name != "" {
			s.queue(batch, name)
		} else {
			s.queue(batch, s.sql)
		}
	}
}

// prepared tells whether the connection knows all of the statements for this workspace.
func (tx *Tx) prepared(statements []Statement) bool {
	known := namesOf(tx.conn.Conn())
	for _, s := range statements {
		if known.of[tx.owner(s.sql)][s.sql] == "" {
			return false
		}
	}
	return true
}

// prepare prepares those that the connection does not know, inside of the transaction, because names resolve only there.
func (tx *Tx) prepare(ctx context.Context, statements []Statement) error {
	conn := tx.conn.Conn()
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil // behind a pooler that cannot keep prepared statements
	}
	names := namesOf(conn)
	for _, s := range statements {
		if names.of[tx.owner(s.sql)][s.sql] != "" {
			continue
		}
		name := tx.nameOf(s.sql)
		described, err := conn.Prepare(ctx, name, s.sql)
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		share(s.sql, described)
		names.add(tx.owner(s.sql), s.sql, name)
	}
	return nil
}

// owner is the workspace under whose names a statement is prepared; uuid.Nil for one that names no table, as of the owner.
func (tx *Tx) owner(text string) uuid.UUID {
	if strings.HasPrefix(text, "set local ") {
		return uuid.Nil
	}
	return tx.of
}

// nameOf is the name of a statement: the workspace's own, of at most 63 bytes, of which Postgres tells names apart; the text
// itself for what is no workspace's, of which pgx makes a name.
func (tx *Tx) nameOf(text string) string {
	if tx.owner(text) == uuid.Nil {
		return text
	}
	number, known := numbers.Load(text)
	if !known {
		number, _ = numbers.LoadOrStore(text, lastNumber.Add(1))
	}
	return fmt.Sprintf("%s_%d", tx.role, number)
}

// numbers are those of the texts of this program.
var (
	numbers    sync.Map
	lastNumber atomic.Int64
)
