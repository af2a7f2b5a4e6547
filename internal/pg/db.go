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
	"golang.org/x/time/rate"
)

// DB are the connections of the application's login. That login owns nothing and inherits nothing:
// without one of the doors below it is refused everywhere but in the control schema.
type DB struct {
	pool   *pgxpool.Pool             // for what is no workspace's
	lanes  []*lane                   // for what is
	owner  *pgxpool.Pool             // of the login that may take the owner role: the same pool, unless SeparateOwner was called
	pooler bool                      // a pooler in transaction mode stands between us and Postgres
	gate   Gate                      // nil: every workspace may be opened
	owned  bool                      // workspaces are entered as the owner: see AsOwner
	left   atomic.Pointer[time.Time] // when all connections were given up last: see leave
	made   sync.Map                  // *connection, those that are not closed

	incarnation incarnation   // which database it is
	refusals    *rate.Limiter // see closesOn
}

// AsOwner is the same database, in which every workspace is entered as the owner: for one that no login may enter, because it is on its way
// from one database to another. It is closed with the other one.
func (db *DB) AsOwner() *DB {
	return &DB{pool: db.pool, owner: db.owner, pooler: db.pooler, owned: true}
}

// Gate refuses a workspace that must not be opened at the moment. It is asked before every transaction in a workspace, so it
// must cost nothing when all is well; and once more with the error when a statement named a table or a column that
// the workspace lacks, or when Postgres denied the workspace itself. A nil of that second call has the error stand.
type Gate func(ctx context.Context, w Workspace, lacks error) error

// Guard has every transaction in a workspace pass a gate. It is called before the DB is used.
func (db *DB) Guard(gate Gate) { db.gate = gate }

// ErrURL is the error of a URL that is none. The parser's own might show a password.
var ErrURL = errors.New("KLUIS_DATABASE_URL cannot be parsed: expected postgres://user:password@host:port/database")

// Open connects to url and waits, at most a few seconds, until the server answers. A database whose encoding is not
// UTF8 is refused. conns is how many connections there are at most: two fifths for what is no workspace's, the rest in
// lanes; with fewer than 8 it is one lane, and a few more.
func Open(ctx context.Context, url string, conns int32) (*DB, error) {
	db := &DB{refusals: newRefusals()}
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

// ownerConns are enough for what the owner does: migrations, provisioning, rebuilds, retention, erasure.
const ownerConns = 6

// SeparateOwner has Own, Admin and their like use connections of a login of their own from here on, so that the serving
// login need neither be a member of the owner role nor make roles. It is called before the DB is used.
func (db *DB) SeparateOwner(ctx context.Context, url string) error {
	config, _, err := db.configure(ctx, url)
	if err != nil {
		return fmt.Errorf("the owner's login: %w", err)
	}
	config.MaxConns = ownerConns
	pool, err := connect(ctx, config)
	if err != nil {
		return fmt.Errorf("the owner's login: %w", err)
	}
	db.owner = pool
	return nil
}

// configure is how connections to url are made.
func (db *DB) configure(ctx context.Context, url string) (config *pgxpool.Config, pooler bool, err error) {
	config, err = pgxpool.ParseConfig(url)
	if err != nil {
		return nil, false, ErrURL
	}
	db.follow(config.ConnConfig)
	config.ConnConfig.DialFunc = db.dial
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap()) // or ids go as text, and are read again
		return db.meet(ctx, conn)
	}
	pooler, waits, err := probe(ctx, config.ConnConfig)
	if err != nil {
		return nil, false, fmt.Errorf("reach database: %w", err)
	}
	if !pooler {
		pin(config.ConnConfig.RuntimeParams, waits)
	} else if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // a statement is not where it was prepared
	}
	return config, pooler, nil
}

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

// Close gives every connection back and waits for those in use.
func (db *DB) Close() {
	pools := db.pools()
	for i := range pools {
		pools[len(pools)-1-i].Close()
	}
}

// Pool is the pool for what is no workspace's, for libraries that keep to the control schema (River, Watermill). Workspace
// data cannot be read with it: the login is refused there.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Lane are the pools whose connections serve a workspace, and others that share them: for what counts or closes connections.
func (db *DB) Lane(w Workspace) []*pgxpool.Pool { return db.lane(w).pools() }

// Stat is what became of the connections of a process, those of the lanes and of the owner among them.
type Stat struct {
	Used, Idle, Max int32
	Waits           int64         // transactions that had to wait for one since the start
	Waited          time.Duration // all of them together
}

// Stat sums all pools.
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

// pools are all there are.
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

// Pooled tells whether a pooler in transaction mode stands between us and Postgres, where transactions are few.
func (db *DB) Pooled() bool { return db.pooler }

// Login is the name of the application's login.
func (db *DB) Login() string { return db.pool.Config().ConnConfig.User }

// Separate tells whether a login of its own does what the owner does.
func (db *DB) Separate() bool { return db.owner != db.pool }

// Control runs fn in a transaction of the login itself, which may touch the control schema only.
func (db *DB) Control(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return db.begin(ctx, db.pool, fn)
}

// Now is the time by the database's clock, by which everything ends that is stored with an end: that of this machine may be wrong.
func (db *DB) Now(ctx context.Context) (now time.Time, err error) {
	return now, db.Control(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&now) })
}

// Admin is Control of the login that makes roles and schemas.
func (db *DB) Admin(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return db.begin(ctx, db.owner, fn)
}

// Own runs fn in a transaction of the owner role, with one or more schemas, or none, on the search_path.
// Only migrations, provisioning, rebuilds, retention and erasure use it.
func (db *DB) Own(ctx context.Context, path string, fn func(tx pgx.Tx) error) error {
	return db.Admin(ctx, func(tx pgx.Tx) error {
		if err := BecomeOwner(ctx, tx, path); err != nil {
			return err
		}
		return fn(tx)
	})
}

// begin runs fn in a transaction. A connection on which none can begin is dead, and another does.
func (db *DB) begin(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx) error) (err error) {
	for range 1 + deadConns {
		began := false
		err = db.beginOnce(ctx, pool, func(tx pgx.Tx) error { began = true; return fn(tx) })
		if err == nil || began || !again(err) || ctx.Err() != nil {
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

// Ready tells whether the database answers and takes changes: nil, or an error that is an outage.
func (db *DB) Ready(ctx context.Context) error {
	var readOnly bool
	err := db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select current_setting('transaction_read_only')::boolean`).Scan(&readOnly)
	})
	if err == nil && readOnly {
		db.leave()
		err = ErrReadOnly
	}
	return err
}
