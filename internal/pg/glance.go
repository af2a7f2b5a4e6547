package pg

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// glances are the light reads of a lane that wait. Those that come while others are read share one snapshot and one round trip,
// whichever workspaces they are of.
//
//  1. A caller leads while fewer than mostLeaders others do. It waits for a connection of the lane, and then takes along all reads that
//     wait, its own among them.
//  2. The other callers wait. The snapshot begins after all of them have come, so that it has what each of them may expect.
//  3. In that transaction the reads of each workspace are under its role, so each sees what it would see alone (see joint). Each read has
//     its own statements. A statement that several reads of a workspace have in common is sent once.
//  4. When a read fails, or waits for a lock longer than a moment, all that were sent with it are read anew, each alone. A
//     workspace whose lock others waited for is read alone for a second.
//  5. When a leader has its answers, the first caller that waits leads.
type glances struct {
	mu      sync.Mutex
	leaders int
	waiting []*glance
	apart   map[uuid.UUID]time.Time // workspaces that are read alone, and until when
}

// glance is what one caller wants to read.
type glance struct {
	of          Workspace
	incarnation int64 // of the database, when the read passed the gate
	statements  []Statement
	turn        chan glanceTurn // has room for two: another leader may take along a caller that was told to lead
}

// glanceTurn says what a waiting caller does next.
type glanceTurn int

const (
	leadGlance  glanceTurn = iota
	aloneGlance            // read in a transaction of its own
	readGlance             // nothing: it has its answers
)

const (
	mostGlances = 32            // in one transaction
	mostVisited = 8             // workspaces in one transaction, each of which locks some 25 tables and indexes
	mostLeaders = laneConns - 1 // of one lane: one connection is left for writes
)

var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// light tells whether all statements are light.
func light(statements []Statement) bool {
	return !slices.ContainsFunc(statements, func(s Statement) bool { return !s.light })
}

// glance reads light statements, together with others of the same lane. When it returns false, the caller reads them alone.
func (db *DB) glance(ctx context.Context, w Workspace, statements []Statement) (read bool) {
	l, g := db.lane(w), &glance{w, db.Incarnation(), statements, make(chan glanceTurn, 2)}
	if db.gate != nil && db.gate(ctx, w, nil) != nil {
		return false // alone, the read gets the error of the gate
	}
	if !l.glances.add(g) {
		return false
	}
	for {
		var turn glanceTurn
		select {
		case turn = <-g.turn:
		case <-ctx.Done():
			if l.glances.withdraw(g) {
				return false // alone, the read gets the error of the context
			}
			turn = <-g.turn
		}
		if turn != leadGlance {
			return turn == readGlance
		}
		db.leadGlances(ctx, l)
	}
}

// add has a glance wait, or lead. It returns false when the workspace is read alone for now.
func (q *glances) add(g *glance) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until, apart := q.apart[g.of.ID]; apart {
		if time.Now().Before(until) {
			return false
		}
		delete(q.apart, g.of.ID)
	}
	q.waiting = append(q.waiting, g)
	if q.leaders < mostLeaders {
		q.leaders++
		g.turn <- leadGlance
	}
	return true
}

// withdraw takes a glance out of those that wait. It returns false when a leader has taken it along, or when it is told to lead.
func (q *glances) withdraw(g *glance) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, g)
	if i < 0 || len(g.turn) > 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// visit is the part of one workspace in a transaction of several, with the callers whose reads it has.
type visit struct {
	part
	glances []*glance
}

// leadGlances reads what waits, and has another caller lead when more has come.
func (db *DB) leadGlances(ctx context.Context, l *lane) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointLimit)
	defer cancel()
	conn, giveBack, err := l.sit(ctx, forReads)
	taken := l.glances.take(err != nil) // not before there is a connection
	visits := db.visits(db.sameDatabase(taken))
	defer l.glances.next()
	if err == nil {
		defer giveBack() // behind the answers, because closing a connection may take a while
		err = l.read(ctx, conn, visits)
	}
	for _, v := range visits {
		turn := readGlance
		if err != nil || v.failed != nil {
			turn = aloneGlance
		}
		for _, g := range v.glances {
			g.turn <- turn
		}
	}
}

// sameDatabase keeps the glances that passed the gate in this incarnation of the database. The others are read alone, and pass the gate again.
func (db *DB) sameDatabase(taken []*glance) []*glance {
	now := db.Incarnation()
	return slices.DeleteFunc(taken, func(g *glance) bool {
		other := g.incarnation != now
		if other {
			g.turn <- aloneGlance
		}
		return other
	})
}

// read reads, in one transaction, what is asked for in several workspaces.
func (l *lane) read(ctx context.Context, conn *pgxpool.Conn, visits []*visit) error {
	if len(visits) == 0 { // another leader has taken all of them along
		return nil
	}
	var parts []*part
	for _, v := range visits {
		parts = append(parts, &v.part)
	}
	blamed, err := sendAll(ctx, conn, parts)
	if blamed >= 0 && Is(err, LockNotAvailable) {
		l.glances.setApart(parts[blamed].tx.of)
	}
	return err
}

func (q *glances) setApart(workspace uuid.UUID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.apart == nil {
		q.apart = map[uuid.UUID]time.Time{}
	}
	q.apart[workspace] = time.Now().Add(time.Second)
}

// next has the first caller lead that waits and is not told to lead already.
func (q *glances) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaders--
	if i := slices.IndexFunc(q.waiting, func(g *glance) bool { return len(g.turn) == 0 }); i >= 0 {
		q.leaders++
		q.waiting[i].turn <- leadGlance
	}
}

// take takes what waits, or as much of it as goes into one transaction. It takes nothing when another leader has taken all of it along.
func (q *glances) take(all bool) []*glance {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	if !all {
		n = min(n, mostGlances)
		visited := map[uuid.UUID]bool{}
		for i, g := range q.waiting[:n] {
			if visited[g.of.ID] = true; len(visited) > mostVisited {
				n = i
				break
			}
		}
	}
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return taken
}

// visits groups glances by workspace.
func (db *DB) visits(taken []*glance) (visits []*visit) {
	for _, g := range taken {
		i := slices.IndexFunc(visits, func(v *visit) bool { return v.tx.of == g.of.ID })
		if i < 0 {
			i = len(visits)
			visits = append(visits, &visit{part: db.part(g.of, snapshot, nil)})
		}
		v := visits[i]
		v.glances = append(v.glances, g)
		v.add(g.statements)
	}
	return visits
}

// add adds statements, and sends once what two of the workspace have in common.
func (v *visit) add(statements []Statement) {
	for _, s := range statements {
		i := slices.IndexFunc(v.statements, func(sent Statement) bool { return s.common && sent.common && sent.sql == s.sql })
		if i >= 0 {
			v.statements[i] = v.statements[i].along(s)
		} else {
			v.statements = append(v.statements, s)
		}
	}
}
