package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

// Owner is the role that owns every schema and table; nobody logs in as it.
const Owner = "kluis_owner"

// DB is a pool of connections of the application's login. That login owns nothing and inherits nothing:
// without one of the doors below it is refused everywhere but in the control schema.
type DB struct {
	pool *pgxpool.Pool
}

// ErrURL is the error of a URL that is none. The parser's own might show a password.
var ErrURL = errors.New("KLUIS_DATABASE_URL cannot be parsed: expected postgres://user:password@host:port/database")

// Open connects to url and waits, at most a few seconds, until the server answers.
func Open(ctx context.Context, url string, maxConns int32) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, ErrURL
	}
	if maxConns > 0 {
		config.MaxConns = maxConns
	}
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap()) // or ids go as text, and are read again
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return &DB{pool: pool}, nil
}

// Close gives every connection back and waits for those in use.
func (db *DB) Close() { db.pool.Close() }

// Pool is the pool itself, for libraries that keep to the control schema (River, Watermill). Workspace
// data cannot be read with it: the login is refused there.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Control runs fn in a transaction of the login itself, which may touch the control schema only.
func (db *DB) Control(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db.pool, fn)
}

// Own runs fn in a transaction of the owner role, with one or more schemas, or none, on the search_path.
// Only migrations, provisioning, rebuilds, retention and erasure use it.
func (db *DB) Own(ctx context.Context, path string, fn func(tx pgx.Tx) error) error {
	return db.Control(ctx, func(tx pgx.Tx) error {
		if err := Become(ctx, tx, Owner, path); err != nil {
			return err
		}
		return fn(tx)
	})
}

// Become puts the rest of a transaction under a role and a search_path. It is for transactions that
// need more than one role, such as provisioning; everything else goes through Do, Read and In.
func Become(ctx context.Context, tx pgx.Tx, role, path string) error {
	if _, err := tx.Exec(ctx, enter, role, path); err != nil {
		return fmt.Errorf("become %s: %w", role, err)
	}
	return nil
}

// Is tells whether err is Postgres' answer with one of the SQLSTATE codes.
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

// SQLSTATE codes that we act on (Postgres manual, appendix A).
const (
	UniqueViolation  = "23505"
	LockNotAvailable = "55P03"
	Deadlock         = "40P01"
	UndefinedTable   = "42P01"
	UndefinedColumn  = "42703"
	AccessDenied     = "42501"
	NoSuchRole       = "22023"
	NoSuchSchema     = "3F000"
)

// Login is the name of the application's login.
func (db *DB) Login() string { return db.pool.Config().ConnConfig.User }
