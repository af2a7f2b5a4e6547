package pg

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	for range n {
		c := config.Copy()
		c.MaxConns, c.MinConns, c.MinIdleConns = 1, 0, 0
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if err := config.AfterConnect(ctx, conn); err != nil {
				return err
			}
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

// release gives a connection back. When too much is prepared on it, some of that goes. When it has prepared too much in its life, it is closed.
func release(conn *pgxpool.Conn) {
	if n := namesOf(conn.Conn()); n.made > mostMade || n.count > mostNames && n.evict(conn.Conn()) != nil {
		_ = conn.Conn().Close(context.Background()) // the error of a close changes nothing
	}
	conn.Release()
}

// names are those under which statements are prepared on a connection, by workspace and text. Statements of no workspace are under uuid.Nil:
// those of the owner, which Postgres plans anew for each search_path, and those that name no table.
type names struct {
	of    map[uuid.UUID]map[string]string
	count int
	made  int // in the life of the connection
}

const (
	// mostNames is how many statements a connection may have prepared: some 200 MB of plans.
	mostNames = 8000
	// mostMade is how many it may prepare in its life. What its process remembers of the tables of workspaces is freed only when the
	// connection ends.
	mostMade = 2 * mostNames
)

// namesOf are the names on a connection. They live as long as it does.
func namesOf(conn *pgx.Conn) *names {
	kept := conn.PgConn().CustomData()
	n, ok := kept["names"].(*names)
	if !ok {
		n = &names{of: map[uuid.UUID]map[string]string{}}
		kept["names"] = n
	}
	return n
}

// add notes that a text is prepared for a workspace under a name.
func (n *names) add(w uuid.UUID, text, name string) {
	if n.of[w] == nil {
		n.of[w] = map[string]string{}
	}
	n.of[w][text] = name
	n.count++
	n.made++
}

// evict deallocates what is prepared for some workspaces, until no more than mostNames are left. Chance chooses them, by the order of a map.
// Evicting those that were unused for longest is worse: when too many workspaces take turns, each would be evicted just before its turn.
func (n *names) evict(conn *pgx.Conn) error {
	for w, texts := range n.of {
		if n.count <= mostNames || conn.PgConn().TxStatus() != 'I' {
			break
		}
		if w == uuid.Nil {
			continue
		}
		for _, name := range texts {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := conn.Deallocate(ctx, name)
			cancel()
			if err != nil {
				return err
			}
		}
		n.count -= len(texts)
		delete(n.of, w)
	}
	return nil
}

// descriptions are those of the statements of the program, by text. They differ between workspaces only in the ids of tables, which nobody
// reads: so all connections share them.
var descriptions sync.Map

// share has a description use the columns and parameters of the first description of the same text. Its own would be some kB.
func share(text string, d *pgconn.StatementDescription) {
	found, ok := descriptions.Load(text)
	if !ok {
		descriptions.Store(text, d)
		return
	}
	first := found.(*pgconn.StatementDescription)
	sameType := func(a, b pgconn.FieldDescription) bool {
		return a.Name == b.Name && a.DataTypeOID == b.DataTypeOID && a.TypeModifier == b.TypeModifier
	}
	if slices.Equal(first.ParamOIDs, d.ParamOIDs) && slices.EqualFunc(first.Fields, d.Fields, sameType) {
		d.ParamOIDs, d.Fields = first.ParamOIDs, first.Fields
	}
}
