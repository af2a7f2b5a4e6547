package pg

// Lead takes the lead of a workspace's lane, as the first caller of Together does: those that come meanwhile wait until it is let
// go, and go together then.
func (db *DB) Lead(w Workspace) (waiting func() int, release func()) {
	l := db.lane(w)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.led = true
	return func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) }, func() { l.next(nil) }
}

// LimitPlans is how many bytes the lanes' connections may have prepared, all and each.
func (db *DB) LimitPlans(all, each int64) { db.plans.most, db.plans.share = all, each }

// Plans is how many bytes they have, about.
func (db *DB) Plans() int64 { return db.plans.used.Load() }

// ForWrites is the connection of a lane, as Lane gives them, on which Do stores.
const ForWrites = int(forWrites)

// LeadGlances takes the lead of all light reads of a workspace's lane: those that come meanwhile wait until it is let go.
func (db *DB) LeadGlances(w Workspace) (waiting func() int, release func()) {
	q := &db.lane(w).glances
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaders = mostLeaders
	return func() int { q.mu.Lock(); defer q.mu.Unlock(); return len(q.waiting) }, func() {
		for range mostLeaders {
			q.next()
		}
	}
}

// Apart tells whether a workspace has lately made others wait.
func (db *DB) Apart(w Workspace) bool {
	q := &db.lane(w).glances
	q.mu.Lock()
	defer q.mu.Unlock()
	_, apart := q.apart[w.ID]
	return apart
}
