package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// enter is what makes a transaction a workspace's. The settings end with the transaction, so that a
// connection given back, to us or to a pooler in transaction mode, carries nothing of a workspace. Every
// statement is a constant with parameters on keyed tables: one generic plan each is right, and saves planning.
const enter = `select set_config('role', $1, true), set_config('search_path', $2, true), set_config('plan_cache_mode', 'force_generic_plan', true)`

// Tx is a transaction in one workspace. The statement that opens it, and the one that ends it, travel
// with the first and the last statements: a transaction of one Commit is one round trip.
type Tx struct {
	conn    *pgxpool.Conn
	options pgx.TxOptions
	role    string
	path    string
	open    bool // begun and not ended
	ended   bool
}

// Do runs statements in one transaction of the workspace, in one round trip.
func (db *DB) Do(ctx context.Context, w Workspace, statements ...Statement) error {
	return db.within(ctx, w.Schema(), w.Schema(), pgx.TxOptions{}, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
}

// Read runs statements on one snapshot of the workspace, in one round trip. It does so again when the
// connection turns out to be dead, as those of a pool are after the server was restarted.
func (db *DB) Read(ctx context.Context, w Workspace, statements ...Statement) (err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	for range 3 {
		err = db.within(ctx, w.Schema(), w.Schema(), snapshot, func(tx *Tx) error { return tx.Commit(ctx, statements...) })
		if err == nil || !Lost(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Lost tells whether err is the loss of a connection, and no answer of Postgres to what was sent.
func Lost(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.SeverityUnlocalized == "FATAL" // it ends the connection
	}
	return !errors.Is(err, pgx.ErrNoRows)
}

// In runs fn in one transaction of the workspace; it commits when fn returns nil without having
// committed itself, and rolls back otherwise.
func (db *DB) In(ctx context.Context, w Workspace, fn func(tx *Tx) error) error {
	return db.within(ctx, w.Schema(), w.Schema(), pgx.TxOptions{}, fn)
}

// Over is In with the tables of another schema laid over the workspace's own: how a rebuild runs the
// ordinary catch-up into shadow tables. The schema is one of ours; the role stays the workspace's.
func (db *DB) Over(ctx context.Context, w Workspace, schema string, fn func(tx *Tx) error) error {
	return db.within(ctx, w.Schema(), schema+", "+w.Schema(), pgx.TxOptions{}, fn)
}

// OverAsOwner is Over as the owner role, for the moment in which a rebuild swaps the tables.
func (db *DB) OverAsOwner(ctx context.Context, w Workspace, schema string, fn func(tx *Tx) error) error {
	return db.within(ctx, Owner, schema+", "+w.Schema(), pgx.TxOptions{}, fn)
}

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

func (db *DB) within(ctx context.Context, role, path string, options pgx.TxOptions, fn func(tx *Tx) error) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release() // a connection still in a transaction, or broken, is closed and not given back
	tx := &Tx{conn: conn, options: options, role: role, path: path}
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
	// what is sent at once is one transaction anyway, and begin and commit would only cost
	whole := !tx.open && last && tx.options == (pgx.TxOptions{})
	if !tx.open {
		if !whole {
			batch.BeginTx(tx.options)
		}
		batch.Queue(enter, tx.role, tx.path)
	}
	for _, s := range statements {
		s.Queue(batch)
	}
	if last && !whole {
		batch.Queue("commit")
	}
	tx.open = true
	err := tx.conn.Conn().SendBatch(ctx, batch).Close()
	if err == nil && last {
		tx.open, tx.ended = false, true
	}
	return err
}

func (tx *Tx) rollback(ctx context.Context) {
	if tx.open && !tx.conn.Conn().IsClosed() && tx.conn.Conn().PgConn().TxStatus() != 'I' {
		_, _ = tx.conn.Exec(context.WithoutCancel(ctx), "rollback") // Release closes the connection when this failed
	}
	tx.open, tx.ended = false, true
}

// A connection prepares a text once, under the first workspace that uses it; Postgres resolves the names
// again when the search_path is another.
func (tx *Tx) prepared(statements []Statement) bool {
	known := tx.conn.Conn().PgConn().CustomData()
	for _, s := range statements {
		if known[s.sql] == nil {
			return false
		}
	}
	return true
}

func (tx *Tx) prepare(ctx context.Context, statements []Statement) error {
	conn := tx.conn.Conn()
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil // behind a pooler that cannot keep prepared statements: the URL says so
	}
	known := conn.PgConn().CustomData()
	for _, s := range statements {
		if known[s.sql] != nil {
			continue
		}
		if _, err := conn.Prepare(ctx, s.sql, s.sql); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		known[s.sql] = true
	}
	return nil
}
