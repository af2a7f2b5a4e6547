package pg

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// In a failover another server becomes the primary: another of the hosts in the URL, or one behind the same name. There are two kinds:
//
//  1. The old primary is gone. Its connections break, and the next ones are made to the host that is the primary now. Until there is
//     one, requests fail as Unreachable.
//  2. The old primary lives on, and takes no changes any more. It answers the next write with 25006 (read_only_sql_transaction). Then the
//     process closes that connection as if it had been lost, and all others with it: on those, reads would go on to see old
//     rows, and listeners would hear nothing.
//
// When the new primary was a synchronous standby, no acknowledged commit is lost, because a commit is answered only when the standby has it.
// The next append finds out what an asynchronous standby lacks: see the event store.

// connectPatience is how long making a connection may take, on all hosts together.
const connectPatience = acquirePatience

// followPrimary has connections go to the primary among the hosts, and away from a host that is the primary no more. A URL of several hosts
// that does not set target_session_attrs looks for the primary: unlike read-write, that still reaches a primary whose operator has set it
// read-only for a while.
func (db *DB) followPrimary(config *pgx.ConnConfig) {
	n := hosts(config)
	config.ConnectTimeout = connectPatience / time.Duration(n)
	if n > 1 && config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	keeps := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == ReadOnly {
			db.abandon()
			return false
		}
		return keeps(conn, err) && !planChanged(err)
	}
	config.OnNotice = func(conn *pgconn.PgConn, notice *pgconn.Notice) {
		if notice.Routine == waitsForStandby {
			conn.CustomData()[waitsForStandby] = true
		}
	}
}

// waitsForStandby is the function of Postgres in which a commit waits for a synchronous standby. When a timeout or an operator of the
// database cancels the wait, Postgres says so in a notice, and then answers that the commit succeeded.
const waitsForStandby = "SyncRepWaitForLSN"

// localError says that a commit is on the primary, and perhaps not on its standby. It counts as a lost answer: the caller looks up
// what became of the commit, and the commit of that transaction waits for the standby.
type localError struct{}

func (localError) Error() string {
	return "the commit did not wait for the synchronous standby, because the wait was cancelled"
}
func (localError) Lost() bool     { return true }
func (localError) Outage() Outage { return Unreachable }

// acknowledged tells whether a commit that succeeded is on its standby, too. If not, the connection is closed.
func acknowledged(ctx context.Context, conn *pgx.Conn) error {
	if conn.PgConn().CustomData()[waitsForStandby] == nil {
		return nil
	}
	_ = conn.Close(context.WithoutCancel(ctx)) // the error of a close changes nothing
	return localError{}
}

// hosts counts the servers of a URL. A host is in the configuration twice when TLS is tried first.
func hosts(config *pgx.ConnConfig) int {
	type address struct {
		host string
		port uint16
	}
	all := map[address]bool{{config.Host, config.Port}: true}
	for _, f := range config.Fallbacks {
		all[address{f.Host, f.Port}] = true
	}
	return len(all)
}

const (
	abandonPause    = time.Second      // all connections are given up once in this time at most: an error within it may come from the same primary
	abandonPatience = 15 * time.Second // for a connection in use to be given back, before it is closed all the same
)

// abandon gives up every connection. Idle ones are closed at once, those in use when they are given back. A connection that nobody gives back,
// because a listener has it, is closed after abandonPatience.
func (db *DB) abandon() {
	now, last := time.Now(), db.abandoned.Load()
	if last != nil && now.Sub(*last) < abandonPause || !db.abandoned.CompareAndSwap(last, &now) || db.owner == nil {
		return
	}
	var made []*connection
	db.made.Range(func(c, _ any) bool { made = append(made, c.(*connection)); return true })
	time.AfterFunc(abandonPatience, func() {
		for _, c := range made {
			_ = c.Close() // loses nothing: no change could be made on it
		}
	})
	for _, p := range db.pools() {
		p.Reset()
	}
}

// connection is a connection to Postgres that its DB knows until it is closed, even when it has left the pool.
type connection struct {
	net.Conn
	db *DB
}

// dial is a pgconn.DialFunc.
func (db *DB) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{KeepAliveConfig: keepAlive, Control: control}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, db: db}
	db.made.Store(c, nil)
	return c, nil
}

// Close may be called twice.
func (c *connection) Close() error {
	c.db.made.Delete(c)
	return c.Conn.Close()
}
