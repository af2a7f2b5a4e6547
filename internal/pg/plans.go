package pg

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// mostPlans is how many bytes Postgres keeps for the statements that the lanes of a process have prepared, about.
const mostPlans = 700 << 20

// plans limits what Postgres keeps for the statements that lanes have prepared, in all their connections together: of the workspaces' lanes some are busy
// and others are not, and folds have ten times the statements of reads.
//
// Postgres tells nobody but a superuser what its processes have in memory, so it is estimated, from what Postgres 15 was seen to take.
type plans struct {
	most  int64        // bytes
	share int64        // of a connection that is never asked to give something back, in bytes
	used  atomic.Int64 // bytes
}

func (p *plans) limit(most, conns int64) { p.most, p.share = most, most/conns }

// crowded counts what a connection has, and tells whether it has to give something back.
func (p *plans) crowded(n *names) bool {
	if p == nil {
		return false
	}
	all := n.bytes + n.tables
	used := p.used.Add(all - n.counted)
	n.counted = all
	return used > p.most && all > p.share
}

// forget says that a connection ends, and what it had with it.
func (p *plans) forget(n *names) { p.used.Add(-n.counted) }

// names are those under which statements are prepared on a connection, by workspace and text. Statements of no workspace are under uuid.Nil:
// those of the owner, which Postgres plans anew for each search_path, and those that name no table.
type names struct {
	of      map[uuid.UUID]*prepared
	bytes   int64 // of what is prepared
	tables  int64 // of what the connection's process remembers of tables, which is freed only when it ends
	plans   *plans
	counted int64 // of these bytes, in plans
}

// prepared is what a connection has for a workspace.
type prepared struct {
	names map[string]string // by text
	bytes int64
	most  int64 // that there ever were
}

// namesOf are the names on a connection. They live as long as it does.
func namesOf(conn *pgx.Conn) *names {
	kept := conn.PgConn().CustomData()
	n, ok := kept["names"].(*names)
	if !ok {
		n = &names{of: map[uuid.UUID]*prepared{}}
		kept["names"] = n
	}
	return n
}

// get gives the name of a text of a workspace; "" when it is not prepared.
func (n *names) get(w uuid.UUID, text string) string {
	if of := n.of[w]; of != nil {
		return of.names[text]
	}
	return ""
}

// add notes that a text is prepared for a workspace under a name.
func (n *names) add(w uuid.UUID, text, name string) {
	of := n.of[w]
	if of == nil {
		of = &prepared{}
		n.of[w] = of
	}
	if of.names == nil {
		of.names = map[string]string{}
	}
	of.names[text] = name
	size := 8<<10 + 110*int64(len(text)) // the text, its parse tree, the query, and the plan
	of.bytes += size
	n.bytes += size
	if more := of.bytes - of.most; more > 0 {
		of.most = of.bytes
		n.tables += more / 3
	}
}

// release gives a connection back. When the lanes have too much prepared, some of that goes, or the connection is closed, when that frees more.
func release(conn *pgxpool.Conn) {
	if n := namesOf(conn.Conn()); n.plans.crowded(n) && !n.evict(conn.Conn()) {
		_ = conn.Conn().Close(context.Background()) // the error of a close changes nothing
	}
	conn.Release()
}

// evict deallocates what is prepared for some workspaces, until the connection is not crowded. It gives up, for the connection to be closed, when
// most of what it takes are tables. Chance chooses the workspaces, by the order of a map. Evicting those that were unused for longest is worse: when
// too many workspaces take turns, each would be evicted just before its turn.
func (n *names) evict(conn *pgx.Conn) (enough bool) {
	for w, of := range n.of {
		if !n.plans.crowded(n) || conn.PgConn().TxStatus() != 'I' {
			return true // a connection that is still in a transaction is closed anyway
		}
		if n.tables > n.bytes {
			return false
		}
		if w == uuid.Nil {
			continue
		}
		for _, name := range of.names {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := conn.Deallocate(ctx, name)
			cancel()
			if err != nil {
				return false
			}
		}
		n.bytes -= of.bytes
		of.names, of.bytes = nil, 0
	}
	return !n.plans.crowded(n)
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
