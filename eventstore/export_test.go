package eventstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// SetGrace shortens the time that handlers get after the end.
func (s *Signals) SetGrace(d time.Duration) { s.grace = d }

// SetBeat sets how often a process shows a sign of life while a handler is at work, and after how long without one the
// lock is lost.
func (s *Signals) SetBeat(beat, idle time.Duration) { s.beat, s.idle = beat, idle }

// Look looks for signals that are due, as a subscriber does.
func Look(ctx context.Context, conn *pgx.Conn) (found bool, err error) {
	table := &signalTable{found: func() { found = true }}
	query := table.SelectQuery("", "", nil)
	rows, err := conn.Query(ctx, query.Query, query.Args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		if _, err := table.UnmarshalMessage(rows); err != nil {
			return false, err
		}
	}
	return found, rows.Err()
}

// AppendWithin appends as a writer with other patience does: until ctx ends.
func (s *Store) AppendWithin(ctx context.Context, w pg.Workspace, a Append) error {
	r := &request{append: a, ids: a.newIDs(), done: make(chan struct{})}
	(&writer{store: s, workspace: w}).writeWithin(ctx, []*request{r})
	<-r.done
	return r.err
}
