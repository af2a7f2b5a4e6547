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

// glances are the light reads of a lane that wait: what comes while others are read goes on one snapshot, in one round trip, whichever
// workspaces it is of.
//
//  1. A caller leads while fewer than mostLeaders others do. With a connection of the lane it takes along what waits, its own read among that.
//  2. The others wait. The snapshot begins after all of them have come, so it has what each asked for.
//  3. In that transaction the reads of each workspace are under its role, so each sees what it would alone (see joint). Each read has its own
//     statements, but those that it has in common with others of its workspace.
//  4. When one of them fails, or waits for a lock longer than a moment, all that were sent with it are read anew, each alone. A
//     workspace that made others wait so is read alone for a second.
//  5. When a leader has its answers, the first of those that wait leads.
type glances struct {
	mu      sync.Mutex
	leaders int
	waiting []*glance
	apart   map[uuid.UUID]time.Time // workspaces that are read alone: until when
}

// glance is what one caller wants to read.
type glance struct {
	of          Workspace
	incarnation int64 // of the database, in which the gate was passed
	statements  []Statement
	turn        chan glanceTurn // holds two elements: a caller that is to lead may be taken along by another leader
}

// glanceTurn says what a caller that waits does next.
type glanceTurn int

const (
	leadGlance  glanceTurn = iota
	aloneGlance            // read in a transaction of its own
	readGlance             // it was read
)

const (
	mostGlances = 32            // in one transaction
	mostVisited = 8             // workspaces in one transaction, each of which locks some 25 tables and indexes
	mostLeaders = laneConns - 1 // of one lane: a connection is left for what is stored
)

var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// light tells whether all statements are.
func light(statements []Statement) bool {
	return !slices.ContainsFunc(statements, func(s Statement) bool { return !s.light })
}

// glance reads light statements, with others of the same lane. false: the caller is to read them alone.
func (db *DB) glance(ctx context.Context, w Workspace, statements []Statement) (read bool) {
	l, g := db.lane(w), &glance{w, db.Incarnation(), statements, make(chan glanceTurn, 2)}
	if db.gate != nil && db.gate(ctx, w, nil) != nil {
		return false // and alone it fails for that
	}
	if !l.glances.add(g) {
		return false
	}
	for {
		var turn glanceTurn
		select {
		case turn = <-g.turn:
		case <-ctx.Done():
			if l.glances.leave(g) {
				return false // and alone it fails for that
			}
			turn = <-g.turn
		}
		if turn != leadGlance {
			return turn == readGlance
		}
		db.leadGlances(ctx, l)
	}
}

// add has a glance wait, or lead; false when its workspace is read alone for now.
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

// leave takes a glance out of those that wait; false when a leader has it, or when it is to lead.
func (q *glances) leave(g *glance) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, g)
	if i < 0 || len(g.turn) > 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// visit is the part of one workspace, for some callers.
type visit struct {
	part
	glances []*glance
}

// leadGlances reads what waits, and has another lead when more has come.
func (db *DB) leadGlances(ctx context.Context, l *lane) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointLimit)
	defer cancel()
	conn, giveBack, err := l.sit(ctx, forReads)
	taken := l.glances.take(err != nil) // not before there is a connection
	visits := db.visits(db.sameDatabase(taken))
	defer l.glances.next()
	if err == nil {
		defer giveBack() // when all have their answers: it may take a while
		err = l.look(ctx, conn, visits)
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

// sameDatabase has those read alone, and pass the gate again, that passed it in another incarnation of the database.
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

// look reads in one transaction what is asked in several workspaces.
func (l *lane) look(ctx context.Context, conn *pgxpool.Conn, visits []*visit) error {
	if len(visits) == 0 { // another leader has taken all along
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

// next has the first of those that wait lead who is not told so already.
func (q *glances) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaders--
	if i := slices.IndexFunc(q.waiting, func(g *glance) bool { return len(g.turn) == 0 }); i >= 0 {
		q.leaders++
		q.waiting[i].turn <- leadGlance
	}
}

// take takes what waits, or as much of it as goes into one transaction: nothing, when another leader has taken all of it along.
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

// visits are glances by workspace, with the statements of all. Those that several of a workspace have in common are sent once.
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
