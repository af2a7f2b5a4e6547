package pg

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lane is a few connections that serve some of the workspaces, and no others.
//
// Postgres plans a statement anew whenever the search_path is another than at its last use, and each of its processes keeps what it
// knows of every table that it has touched. So a workspace keeps to one lane, and there each of its statements is prepared under a name of
// its own, and planned once: see names.
//
// One workspace has all connections but one at most, light reads aside (see glances). When somebody holds a row that all requests of a
// workspace want, its neighbours go on with the connection that is left.
//
// Through a pooler in transaction mode a connection belongs to nobody, and lanes only limit what one workspace takes.
type lane struct {
	seats
	shares sync.Map // by id of a workspace: a channel with an element for each connection that the workspace has
	joint
	glances glances
}

const (
	laneConns = 3
	laneShare = laneConns - 1 // of one workspace
)

// split divides the connections of a process into those of the pool, which serves the control schema, and a number of lanes.
func split(conns int32) (pool int32, lanes int) {
	pool = max(conns*2/5, 2)
	return pool, max(int(conns-pool)/laneConns, 1)
}

// newLanes makes n lanes. Their connections are made when they are first wanted.
func (db *DB) newLanes(ctx context.Context, config *pgxpool.Config, n int) (lanes []*lane, err error) {
	db.plans.limit(mostPlans, int64(n*laneConns))
	for range n {
		c := config.Copy()
		c.MaxConns, c.MinConns, c.MinIdleConns = 1, 0, 0
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if err := config.AfterConnect(ctx, conn); err != nil {
				return err
			}
			namesOf(conn).plans = &db.plans
			return db.notStandby(conn)
		}
		if !db.pooler {
			// Every statement of a workspace is a constant with parameters on tables with keys: one plan for all parameters is right, if it
			// uses an index. Most plans are made when the tables are empty, where reading them in whole looks cheap, and kept when
			// they are full. Nor does Postgres always estimate rare values and words well. Through a pooler each transaction
			// says so: see planByIndex.
			c.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
			c.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		}
		c.BeforeClose = func(conn *pgx.Conn) { db.plans.forget(namesOf(conn)) }
		l := &lane{}
		for i := range l.all {
			pool, err := pgxpool.NewWithConfig(ctx, c)
			if err != nil {
				return lanes, fmt.Errorf("open database: %w", err)
			}
			l.all[i] = newSeat(pool)
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// lane is the lane that a workspace keeps to. The random end of its id chooses.
func (db *DB) lane(w Workspace) *lane {
	return db.lanes[binary.BigEndian.Uint32(w.ID[12:])%uint32(len(db.lanes))]
}

// acquire waits until the workspace is below its share, and then for a connection. The caller gives it back.
func (l *lane) acquire(ctx context.Context, w Workspace, u use) (conn *pgxpool.Conn, giveBack func(), err error) {
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
	conn, stand, err := l.sit(ctx, u)
	if err != nil {
		<-share
		return nil, nil, err
	}
	return conn, func() { stand(); <-share }, nil
}
