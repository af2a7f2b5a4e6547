package pg

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A failover makes another server the primary, by another of the hosts in the URL, or by the same name:
//
//  1. The old primary is gone: its connections break, and the next ones are made to the host that is the primary now. Until there is
//     one, requests are Unreachable.
//  2. The old primary lives on and takes no changes any more. It tells whoever writes (25006, read_only_sql_transaction). That
//     connection is closed, as if it had been lost, and so are all others: whoever only reads would go on to read there what is old,
//     and whoever only listens would hear nothing any more.
//
// Nothing acknowledged is lost when the new primary was a synchronous standby, since a commit is answered when the standby has
// it. What an asynchronous one lacks is found out by who appends next: see the event store.

// connectPatience is how long making a connection may take, on all hosts together.
const connectPatience = acquirePatience

// follow has connections go to the primary among the hosts, and away from one that is none any more. A URL of several hosts
// that does not say what is looked for (target_session_attrs) looks for the primary: a database whose operator wants no changes for a
// while can be read then.
func (db *DB) follow(config *pgx.ConnConfig) {
	n := hosts(config)
	config.ConnectTimeout = connectPatience / time.Duration(n)
	if n > 1 && config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	keeps := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == ReadOnly {
			db.leave()
			return false
		}
		return keeps(conn, err) && !db.closesOn(err)
	}
	config.OnNotice = func(conn *pgconn.PgConn, notice *pgconn.Notice) {
		if notice.Routine == waitsForStandby {
			conn.CustomData()[waitsForStandby] = true
		}
	}
}

// waitsForStandby is the function of Postgres that has a commit wait for a synchronous standby. When the wait is cancelled, by a timeout or by
// whoever runs the database, Postgres says so in a notice, and then that the commit succeeded.
const waitsForStandby = "SyncRepWaitForLSN"

// localError says that a commit is on the primary, and that its standby may not have it. It is as if the answer had been lost: the caller
// looks what became of it, and the commit behind that look waits for the standby.
type localError struct{}

func (localError) Error() string {
	return "the commit did not wait for the synchronous standby, because the wait was cancelled"
}
func (localError) Lost() bool     { return true }
func (localError) Outage() Outage { return Unreachable }

// acknowledged tells whether a commit that succeeded is where it has to be. The connection is not used again where it is not.
func acknowledged(ctx context.Context, conn *pgx.Conn) error {
	if conn.PgConn().CustomData()[waitsForStandby] == nil {
		return nil
	}
	_ = conn.Close(context.WithoutCancel(ctx)) // nothing is lost with it
	return localError{}
}

// hosts counts the servers of a URL. A host is in it twice where TLS is tried first.
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
	leavePause    = time.Second      // between two times that all connections are given up: a primary told to take no changes is no other one a moment later
	leavePatience = 15 * time.Second // for a connection in use to be given back, before it is closed all the same
)

// leave gives up every connection: idle ones at once, those in use as soon as they are given back, and those that nobody gives back, because
// somebody listens on them, after leavePatience.
func (db *DB) leave() {
	now, last := time.Now(), db.left.Load()
	if last != nil && now.Sub(*last) < leavePause || !db.left.CompareAndSwap(last, &now) || db.owner == nil {
		return
	}
	var made []*connection
	db.made.Range(func(c, _ any) bool { made = append(made, c.(*connection)); return true })
	time.AfterFunc(leavePatience, func() {
		for _, c := range made {
			_ = c.Close() // nothing is lost with it: it could change nothing
		}
	})
	for _, p := range db.pools() {
		p.Reset()
	}
}

// connection is one to Postgres, which its DB knows until it is closed, also when it has left the pool.
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
