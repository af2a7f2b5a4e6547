package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

// DB holds the connections of a process to its database. The login that serves owns nothing and inherits nothing: outside of the control
// schema Postgres refuses it, unless one of the methods below puts the transaction under another role.
type DB struct {
	pool      *pgxpool.Pool             // for the control schema
	lanes     []*lane                   // for workspaces
	plans     plans                     // what their connections have prepared
	owner     *pgxpool.Pool             // of the login that may take the owner role: it is pool, unless SeparateOwner was called
	pooler    bool                      // a pooler in transaction mode stands between the process and Postgres
	gate      Gate                      // nil: every workspace may be opened
	owned     bool                      // workspaces are entered as the owner: see AsOwner
	abandoned atomic.Pointer[time.Time] // when all connections were given up last: see abandon
	made      sync.Map                  // *connection: those that are not closed

	incarnation incarnation // which database this is
}

// AsOwner returns the same database, in which every workspace is entered as the owner. It is for a workspace that no login may enter, because
// it is on its way from one database to another. Closing db closes both.
func (db *DB) AsOwner() *DB {
	return &DB{pool: db.pool, owner: db.owner, pooler: db.pooler, owned: true}
}

// Gate refuses a workspace that must not be opened at the moment.
//
// Every transaction in a workspace calls the gate first, with lacks nil: so the gate must cost nothing when all is well. The gate is called once
// more, with the error of a statement as lacks, when a statement named a table or a column that the workspace lacks, or when Postgres denied
// the workspace itself. When the second call returns nil, the caller gets that error.
type Gate func(ctx context.Context, w Workspace, lacks error) error

// SetGate has every transaction in a workspace pass a gate. It is called before the DB is used.
func (db *DB) SetGate(gate Gate) { db.gate = gate }

// ErrURL says that the URL of the database cannot be parsed. The parser's own error might show a password.
var ErrURL = errors.New("KLUIS_DATABASE_URL cannot be parsed: expected postgres://user:password@host:port/database")

// Open connects to url, and waits a few seconds at most until the server answers. It refuses a database whose encoding is not UTF8.
//
// conns is the most connections that there will be: two fifths serve the control schema, the rest are lanes. There is one lane at least, so
// fewer than 5 become 5. 0 takes the number from the URL (pool_max_conns).
func Open(ctx context.Context, url string, conns int32) (*DB, error) {
	db := &DB{}
	config, pooler, err := db.configure(ctx, url)
	if err != nil {
		return nil, err
	}
	if conns == 0 {
		conns = config.MaxConns
	}
	ofPool, lanes := split(conns)
	config.MaxConns = ofPool
	db.pooler = pooler
	if db.pool, err = connect(ctx, config); err != nil {
		return nil, err
	}
	db.owner = db.pool
	if db.lanes, err = db.newLanes(ctx, config, lanes); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// ownerConns is enough for what the owner does: migrations, provisioning, rebuilds, retention, erasure.
const ownerConns = 6

// SeparateOwner has Own, Admin and InAsOwner use connections of a login of their own from here on. The login that serves then need
// neither be a member of the owner role nor make roles. It is called before the DB is used.
func (db *DB) SeparateOwner(ctx context.Context, url string) error {
	config, _, err := db.configure(ctx, url)
	if err != nil {
		return fmt.Errorf("the owner's login: %w", err)
	}
	config.MaxConns = ownerConns
	pool, err := pgxpool.NewWithConfig(ctx, config) // configure has seen that the login may connect, and many commands need no owner
	if err != nil {
		return fmt.Errorf("the owner's login: %w", err)
	}
	db.owner = pool
	return nil
}

// configure says how connections to url are made, and whether url leads to a pooler in transaction mode.
func (db *DB) configure(ctx context.Context, url string) (config *pgxpool.Config, pooler bool, err error) {
	config, err = pgxpool.ParseConfig(url)
	if err != nil {
		return nil, false, ErrURL
	}
	db.followPrimary(config.ConnConfig)
	config.ConnConfig.DialFunc = db.dial
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap()) // or ids travel as text, and are parsed
		return db.identify(ctx, conn)
	}
	pooler, syncCommit, err := probe(ctx, config.ConnConfig)
	if err != nil {
		return nil, false, fmt.Errorf("reach database: %w", err)
	}
	if !pooler {
		pin(config.ConnConfig.RuntimeParams, syncCommit)
	} else if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // the next statement may run on another server process than the one that prepared it
	}
	return config, pooler, nil
}

// connect makes a pool, and its first connection, which says which database it is.
func connect(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return pool, nil
}

// Close closes every connection, and waits for those in use to be given back.
func (db *DB) Close() {
	pools := db.pools()
	for i := range pools {
		pools[len(pools)-1-i].Close()
	}
}

// Pool returns the pool for the control schema, for libraries that keep to it (River, Watermill). It cannot read workspace data, because the
// login may not.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Lane returns the pools that serve a workspace, and others that share its lane: for code that counts or closes connections.
func (db *DB) Lane(w Workspace) []*pgxpool.Pool { return db.lane(w).pools() }

// Stat counts the connections of a process, those of the lanes and of the owner included.
type Stat struct {
	Used, Idle, Max int32
	Waits           int64         // transactions since the start that had to wait for a connection
	Waited          time.Duration // how long, all of them together
}

// Stat returns the sum over all pools.
func (db *DB) Stat() (sum Stat) {
	for _, p := range db.pools() {
		s := p.Stat()
		sum.Used, sum.Idle, sum.Max = sum.Used+s.AcquiredConns(), sum.Idle+s.IdleConns(), sum.Max+s.MaxConns()
		sum.Waits, sum.Waited = sum.Waits+s.EmptyAcquireCount(), sum.Waited+s.EmptyAcquireWaitTime()
	}
	for _, l := range db.lanes {
		sum.Waits, sum.Waited = sum.Waits+l.waits.Load(), sum.Waited+time.Duration(l.waited.Load())
	}
	return sum
}

// pools are all pools of the DB.
func (db *DB) pools() []*pgxpool.Pool {
	pools := []*pgxpool.Pool{db.pool}
	if db.Separate() {
		pools = append(pools, db.owner)
	}
	for _, l := range db.lanes {
		pools = append(pools, l.pools()...)
	}
	return pools
}

// Pooled tells whether a pooler in transaction mode stands between the process and Postgres. Few transactions may be open at once then.
func (db *DB) Pooled() bool { return db.pooler }

// Login returns the name of the login that serves.
func (db *DB) Login() string { return db.pool.Config().ConnConfig.User }

// Separate tells whether the owner's work has a login of its own.
func (db *DB) Separate() bool { return db.owner != db.pool }

// Control runs fn in a transaction of the login itself, which may touch the control schema only.
func (db *DB) Control(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return db.begin(ctx, db.pool, fn)
}

// Now returns the time by the database's clock. Whatever is stored with an end, ends by this clock: that of the machine may be wrong.
func (db *DB) Now(ctx context.Context) (now time.Time, err error) {
	err = db.Control(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&now) })
	return now, err
}

// Admin runs fn in a transaction of the login that makes roles and schemas.
func (db *DB) Admin(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return db.begin(ctx, db.owner, fn)
}

// Own runs fn in a transaction of the owner role. path is the search_path: one or more schemas separated by commas, or none.
// Only migrations, provisioning, rebuilds, retention and erasure use it.
func (db *DB) Own(ctx context.Context, path string, fn func(tx pgx.Tx) error) error {
	return db.Admin(ctx, func(tx pgx.Tx) error {
		if err := BecomeOwner(ctx, tx, path); err != nil {
			return err
		}
		return fn(tx)
	})
}

// begin runs fn in a transaction. When none can begin because the connection is dead, it takes another connection.
func (db *DB) begin(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) (err error) {
	for range 1 + deadConns {
		began := false
		err = db.beginOnce(ctx, pool, func(tx pgx.Tx) error { began = true; return fn(tx) })
		if err == nil || began || !deadConnection(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (db *DB) beginOnce(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) error {
	conn, err := acquire(ctx, pool)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = pgx.BeginTxFunc(ctx, conn, db.options(pgx.TxOptions{}), func(tx pgx.Tx) error {
		if db.pooler {
			if _, err := tx.Exec(ctx, pinInside, pinNames, pinValues); err != nil {
				return fmt.Errorf("pin the settings of the transaction: %w", err)
			}
		}
		return fn(tx)
	})
	if err == nil {
		err = acknowledged(ctx, conn.Conn())
	}
	return err
}

// Ready tells whether the database answers and takes changes. The error is an outage (see OutageOf).
func (db *DB) Ready(ctx context.Context) error {
	var readOnly bool
	err := db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select current_setting('transaction_read_only')::boolean`).Scan(&readOnly)
	})
	if err == nil && readOnly {
		db.abandon()
		err = ErrReadOnly
	}
	return err
}
