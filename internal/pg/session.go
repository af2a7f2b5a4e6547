package pg

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pins are the settings on which it depends what is stored, answered or locked. A role, a database or a server may set others; on a
// connection of this program these hold. They belong to no workspace, so a connection may keep them.
//
// default_transaction_read_only is not among them. Whoever sets it wants no changes now, as the disk guards of managed databases do, and
// then there are none (ReadOnlyNow).
var pins = map[string]string{
	// the wire, and values as text
	"client_encoding": "UTF8", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "TimeZone": "UTC",
	"standard_conforming_strings": "on", "escape_string_warning": "on", "backslash_quote": "safe_encoding", "bytea_output": "hex",
	"extra_float_digits": "1", "array_nulls": "on", "transform_null_equals": "off", "xmloption": "content", "xmlbinary": "base64",
	"quote_all_identifiers": "off", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C",
	// which rows a statement finds
	"row_security": "on", "gin_fuzzy_search_limit": "0", "default_text_search_config": "pg_catalog.simple",
	// what a transaction is
	"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off",
	"exit_on_error": "off", "role": "none",
	// whether it is told that a commit did not wait for its standby: see localError
	"client_min_messages": "notice",
	// where tables are made
	"default_tablespace": "", "temp_tablespaces": "", "default_table_access_method": "heap", "check_function_bodies": "on",
	// nothing waits or holds a lock for ever; long work sets its own limits
	"lock_timeout": "5s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "5s", "idle_session_timeout": "0",
	"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", "tcp_user_timeout": "30000",
	// speed
	"jit": "off", "max_parallel_workers_per_gather": "0", // a request takes one core, and leaves the others to other requests
}

// inStartup are the pins that a pooler in transaction mode takes at the start of a connection, and keeps for it.
var inStartup = []string{"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"}

// pinInside pins, for one transaction of the login, what a pooler does not keep.
const pinInside = `select set_config('synchronous_commit', ` + durable + `, true) union all
	select set_config(name, value, true) from unnest($1::text[], $2::text[]) as pin (name, value)`

// planByIndex does, for one transaction of a workspace through a pooler, what connections of lanes begin with: see newLanes.
const planByIndex = `set local enable_seqscan = off`

// durable has a commit answered when it is on disk, whatever the settings of the login say. Where a commit waits for a standby to
// apply it, it still does.
const durable = `case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end`

var pinNames, pinValues = insidePins()

func insidePins() (names, values []string) {
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		if !slices.Contains(inStartup, name) && name != "role" && !strings.HasPrefix(name, "default_transaction_") {
			names, values = append(names, name), append(values, pins[name])
		}
	}
	return names, values
}

// pin has connections begin with the pins and with a value of synchronous_commit, whatever the URL sets.
func pin(params map[string]string, syncCommit string) {
	pinned := maps.Clone(pins)
	pinned["synchronous_commit"] = syncCommit
	names := slices.Collect(maps.Keys(pinned))
	for name := range params { // the URL may write a name in another case
		if slices.ContainsFunc(names, func(pin string) bool { return strings.EqualFold(pin, name) }) {
			delete(params, name)
		}
	}
	maps.Copy(params, pinned)
}

// keepAlive ends a connection whose other end is gone within 25 seconds: after 10 idle ones, and 3 probes 5 seconds apart.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// unacknowledged is how long the other end of a connection may acknowledge nothing of what was sent.
const unacknowledged = 30 * time.Second

// probe opens a connection and finds out what is at the other end. A pooler in transaction mode gives itself away by the process id, which
// it makes up. syncCommit is the value of durable there.
func probe(ctx context.Context, config *pgx.ConnConfig) (pooler bool, syncCommit string, err error) {
	for _, name := range inStartup {
		config.RuntimeParams[name] = pins[name]
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the error of a close changes nothing
	var pid uint32
	var encoding string
	err = conn.QueryRow(ctx, `select pg_backend_pid(), pg_encoding_to_char(encoding), `+durable+` from pg_database where datname = current_database()`,
		pgx.QueryExecModeSimpleProtocol).Scan(&pid, &encoding, &syncCommit)
	if err != nil {
		return false, "", err
	}
	if encoding != "UTF8" {
		return false, "", fmt.Errorf("the database has the encoding %s, which does not hold every text: make one with "+
			"CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return pid != conn.PgConn().PID(), syncCommit, nil
}

// leastConns is how many transactions a process may have open at once: the lock on a signal, that of its handler, and two of a
// rebuild.
const leastConns = 4

// CheckPooler refuses a pooler that lets too few transactions be open at once: they would wait for each other for ever.
func (db *DB) CheckPooler(ctx context.Context) error {
	if !db.pooler {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, acquirePatience)
	defer cancel()
	var open func(n int) error
	open = func(n int) error {
		if n == 0 {
			return nil
		}
		return db.Control(short, func(pgx.Tx) error { return open(n - 1) })
	}
	err := open(leastConns)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the pooler in KLUIS_DATABASE_URL lets fewer than %d transactions be open at once: set default_pool_size "+
			"(of PgBouncer) to 20 for each kluis, or leave the pooler out", leastConns)
	}
	return err
}

// acquirePatience is how long a transaction waits for a connection before it fails as Busy.
const acquirePatience = 5 * time.Second

func acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	short, cancel := context.WithTimeout(ctx, acquirePatience)
	defer cancel()
	conn, err := pool.Acquire(short)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && short.Err() != nil:
		return nil, fmt.Errorf("%w within %s: %w", ErrNoConnection, acquirePatience, err)
	default:
		return nil, fmt.Errorf("acquire connection: %w", err)
	}
}

// options completes the options of a transaction. Through a pooler the defaults of the session may be anybody's, so each option is set.
func (db *DB) options(asked pgx.TxOptions) pgx.TxOptions {
	if db.pooler {
		asked.IsoLevel = orElse(asked.IsoLevel, pgx.ReadCommitted)
		asked.DeferrableMode = pgx.NotDeferrable
	}
	return asked
}

func orElse[T ~string](value, otherwise T) T {
	if value == "" {
		return otherwise
	}
	return value
}
