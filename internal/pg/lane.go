package pg

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A lane is a few connections that serve some of the workspaces, and no others.
//
// Postgres plans a statement anew whenever the search_path is another than at its last use, and each of its processes keeps
// what it knows of every table that it has touched. So a workspace keeps to one lane, and there each of its statements is
// prepared under a name of its own, and planned once: see names. Of the connections one workspace has all but one at
// most: when somebody holds a row that all of its requests want, its neighbours go on with the one that is left.
//
// Through a pooler in transaction mode, where no connection is anybody's, lanes only bound what one workspace takes.
type lane struct {
	pool   *pgxpool.Pool
	shares sync.Map // ids of workspaces: the connections that one has, as elements of a channel
	joint
	glances glances
}

const (
	laneConns = 3
	laneShare = laneConns - 1 // of one workspace
)

// split gives of all connections of a process those of the pool, which is no workspace's, and how many lanes there are.
func split(conns int32) (pool int32, lanes int) {
	pool = max(conns*2/5, 2)
	return pool, max(int(conns-pool)/laneConns, 1)
}

func newLanes(ctx context.Context, config *pgxpool.Config, pooler bool, n int) (lanes []*lane, err error) {
	for range n {
		c := config.Copy()
		c.MaxConns, c.MinConns, c.MinIdleConns = laneConns, 0, 0
		if !pooler {
			// Every statement of a workspace is a constant with parameters on keyed tables: one plan each is right, if it is one by index.
			// A plan is mostly made when the tables are empty, where reading them in whole looks cheap, and kept when they are not; and what
			// Postgres believes of rare values and of words is not always so. Through a pooler each transaction says so: see planByIndex.
			c.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
			c.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		}
		pool, err := pgxpool.NewWithConfig(ctx, c)
		if err != nil {
			return lanes, fmt.Errorf("open database: %w", err)
		}
		lanes = append(lanes, &lane{pool: pool})
	}
	return lanes, nil
}

// lane is the one that a workspace keeps to, by the random end of its id.
func (db *DB) lane(w Workspace) *lane {
	return db.lanes[binary.BigEndian.Uint32(w.ID[12:])%uint32(len(db.lanes))]
}

// acquire waits for a connection of the workspace's share. The caller gives it back.
func (l *lane) acquire(ctx context.Context, w Workspace) (conn *pgxpool.Conn, giveBack func(), err error) {
	found, ok := l.shares.Load(w.ID)
	if !ok {
		found, _ = l.shares.LoadOrStore(w.ID, make(chan struct{}, laneShare))
	}
	share := found.(chan struct{})
	select {
	case share <- struct{}{}:
	default:
		patience := time.NewTimer(acquirePatience)
		defer patience.Stop()
		select {
		case share <- struct{}{}:
		case <-patience.C:
			return nil, nil, fmt.Errorf("%w within %s: workspace %s has %d", ErrNoConnection, acquirePatience, w.ID, laneShare)
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("acquire connection: %w", ctx.Err())
		}
	}
	if conn, err = acquire(ctx, l.pool); err != nil {
		<-share
		return nil, nil, err
	}
	return conn, func() { release(conn); <-share }, nil
}

// release gives a connection back: closed when it is broken, still in a transaction, or has too much prepared.
func release(conn *pgxpool.Conn) {
	if namesOf(conn.Conn()).count > mostNames {
		_ = conn.Conn().Close(context.Background()) // nothing is lost with it
	}
	conn.Release()
}

// names are those under which statements are prepared on a connection, by workspace and text. A statement of no workspace, as of the
// owner, has uuid.Nil, and Postgres plans it anew for each search_path.
type names struct {
	of    map[uuid.UUID]map[string]string
	count int
}

// mostNames is how many statements a connection may have prepared. One that has more is closed when it is given back, and with it
// goes what its process remembers of the tables: some 50 MB.
const mostNames = 4000

// namesOf are the names on a connection, whose life they share.
func namesOf(conn *pgx.Conn) *names {
	kept := conn.PgConn().CustomData()
	n, ok := kept["names"].(*names)
	if !ok {
		n = &names{of: map[uuid.UUID]map[string]string{}}
		kept["names"] = n
	}
	return n
}

// add notes that a workspace's text is prepared under a name.
func (n *names) add(w uuid.UUID, text, name string) {
	if n.of[w] == nil {
		n.of[w] = map[string]string{}
	}
	n.of[w][text] = name
	n.count++
}
