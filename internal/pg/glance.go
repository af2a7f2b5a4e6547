package pg

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// glances are the light reads of a workspace that wait: what comes while its connections are busy is read on one snapshot, in one
// round trip.
//
//  1. A caller for whom a connection of the workspace is free leads. It takes along what waits, its own read among that.
//  2. The others wait. The snapshot begins after all of them have come, so it has what each asked for.
//  3. Each read has its own statements, but those in common. When one of them fails, for whatever reason, all that were sent with it are read anew, each alone.
//  4. When a leader has its answers, the first of those that wait leads.
type glances struct {
	mu      sync.Mutex
	leaders int
	waiting []*glance
}

// glance is what one caller wants to read.
type glance struct {
	statements []Statement
	turn       chan glanceTurn // holds two elements: who is to lead may be taken along by another leader
}

// glanceTurn says what a caller that waits does next.
type glanceTurn int

const (
	leadGlance  glanceTurn = iota
	aloneGlance            // read in a transaction of its own
	readGlance             // it was read
)

const (
	mostGlances = 32        // in one transaction
	mostLeaders = laneShare // of one workspace: more would wait for its connections
)

// light tells whether all statements are.
func light(statements []Statement) bool {
	return !slices.ContainsFunc(statements, func(s Statement) bool { return !s.light })
}

// glances are those of a workspace.
func (l *lane) glancesOf(w Workspace) *glances {
	found, ok := l.glances.Load(w.ID)
	if !ok {
		found, _ = l.glances.LoadOrStore(w.ID, &glances{})
	}
	return found.(*glances)
}

// glance reads light statements, with others of the same workspace. false: the caller is to read them alone.
func (db *DB) glance(ctx context.Context, w Workspace, statements []Statement) (read bool) {
	q, g := db.lane(w).glancesOf(w), &glance{statements, make(chan glanceTurn, 2)}
	q.mu.Lock()
	q.waiting = append(q.waiting, g)
	if q.leaders < mostLeaders {
		q.leaders++
		g.turn <- leadGlance
	}
	q.mu.Unlock()
	for {
		var turn glanceTurn
		select {
		case turn = <-g.turn:
		case <-ctx.Done():
			if q.leave(g) {
				return false // and alone it fails for that
			}
			turn = <-g.turn
		}
		if turn != leadGlance {
			return turn == readGlance
		}
		db.leadGlances(ctx, w, q)
	}
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

// leadGlances reads what waits, and has another lead when more has come.
func (db *DB) leadGlances(ctx context.Context, w Workspace, q *glances) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointLimit)
	defer cancel()
	var taken []*glance
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := db.within(ctx, w, snapshot, func(tx *Tx) error {
		if taken = q.take(); len(taken) == 0 { // not before there is a connection
			return nil
		}
		return tx.Commit(ctx, merged(taken)...)
	})
	q.mu.Lock()
	if err != nil && taken == nil { // for want of a connection
		taken, q.waiting = q.waiting, nil
	}
	q.leaders--
	if i := slices.IndexFunc(q.waiting, func(g *glance) bool { return len(g.turn) == 0 }); i >= 0 { // the others are told to lead already
		q.leaders++
		q.waiting[i].turn <- leadGlance
	}
	q.mu.Unlock()
	turn := readGlance
	if err != nil {
		turn = aloneGlance
	}
	for _, g := range taken {
		g.turn <- turn
	}
}

// merged are the statements of all, those in common once.
func merged(taken []*glance) (all []Statement) {
	sent := map[string]int{} // what is in common: where it is
	for _, g := range taken {
		for _, s := range g.statements {
			if i, is := sent[s.sql]; is && s.common {
				all[i] = all[i].along(s)
				continue
			}
			if s.common {
				sent[s.sql] = len(all)
			}
			all = append(all, s)
		}
	}
	return all
}

// take takes what waits: nothing, when another leader has taken all of it along.
func (q *glances) take() []*glance {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), mostGlances)
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return taken
}
