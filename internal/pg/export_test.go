package pg

import "context"

// Lead takes the lead of a workspace's lane, as the first caller of Together does: those that come meanwhile wait until it is let
// go, and go together then.
func (db *DB) Lead(w Workspace) (waiting func() int, release func()) {
	l := db.lane(w)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.led = true
	return func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) }, func() { l.next(nil) }
}

// Forget has the next connection of a workspace believe that too much is prepared on it.
func (db *DB) Forget(w Workspace) {
	conn, err := db.lane(w).pool.Acquire(context.Background())
	if err == nil {
		namesOf(conn.Conn()).count = mostNames
		conn.Release()
	}
}

// LaneShare is how many connections one workspace has.
const LaneShare = laneShare

// Glancing is how many light reads of a workspace wait.
func (db *DB) Glancing(w Workspace) int {
	q := db.lane(w).glancesOf(w)
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
