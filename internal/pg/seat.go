package pg

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// use is what a connection of a lane is wanted for. It is an index of seats.
type use int

const (
	forReads  use = iota // one round trip that changes nothing
	forWrites            // one round trip that stores
	forWork              // a transaction of several round trips: folds, commands that read before they store, exports
)

// seats are the places for the connections of a lane, each a pool of one.
//
// Each use prefers one of them. Postgres keeps the plan of a statement, and what it knows of the tables, in each process that runs the
// statement. Most statements of a workspace belong to one use, so each connection keeps a third of them. When the preferred
// seat stays taken for longer than a moment, any other will do.
type seats struct {
	all    [laneConns]seat
	waits  atomic.Int64 // transactions that had to wait
	waited atomic.Int64 // how long, all of them together, in nanoseconds
}

type seat struct {
	pool *pgxpool.Pool
	free chan struct{} // has an element while nobody sits there
}

func newSeat(pool *pgxpool.Pool) seat {
	s := seat{pool, make(chan struct{}, 1)}
	s.free <- struct{}{}
	return s
}

// preference is how long a use waits for the seat that it prefers.
const preference = 5 * time.Millisecond

// sit waits for a seat, and returns its connection. The caller gives it back.
func (s *seats) sit(ctx context.Context, u use) (conn *pgxpool.Conn, giveBack func(), err error) {
	found, err := s.find(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	if conn, err = acquire(ctx, found.pool); err != nil {
		found.free <- struct{}{}
		return nil, nil, err
	}
	return conn, func() { found.giveBack(conn) }, nil
}

// giveBack gives the connection back, and the seat with it. When the pool is still closing a broken connection, which can take a while, the
// seat is free only after that.
func (s *seat) giveBack(conn *pgxpool.Conn) {
	release(conn)
	if s.pool.Stat().AcquiredConns() == 0 {
		s.free <- struct{}{}
		return
	}
	go func() {
		if next, err := acquire(context.Background(), s.pool); err == nil {
			next.Release()
		}
		s.free <- struct{}{}
	}()
}

// find takes a seat. There may be two leaders of light reads: when one of them has the seat for reads, the other takes that for work.
func (s *seats) find(ctx context.Context, u use) (*seat, error) {
	preferred, second := &s.all[u], &s.all[u]
	if u == forReads {
		second = &s.all[forWork]
	}
	select {
	case <-preferred.free:
		return preferred, nil
	default:
	}
	select {
	case <-second.free:
		return second, nil
	default:
	}
	begun := time.Now()
	defer func() { s.waits.Add(1); s.waited.Add(int64(time.Since(begun))) }()
	patience := time.NewTimer(preference)
	defer patience.Stop()
	select {
	case <-preferred.free:
		return preferred, nil
	case <-second.free:
		return second, nil
	case <-patience.C:
		patience.Reset(acquirePatience - preference)
	case <-ctx.Done():
	}
	select {
	case <-s.all[forReads].free:
		return &s.all[forReads], nil
	case <-s.all[forWrites].free:
		return &s.all[forWrites], nil
	case <-s.all[forWork].free:
		return &s.all[forWork], nil
	case <-patience.C:
		return nil, fmt.Errorf("%w within %s", ErrNoConnection, acquirePatience)
	case <-ctx.Done():
		return nil, fmt.Errorf("acquire connection: %w", ctx.Err())
	}
}

func (s *seats) pools() (pools []*pgxpool.Pool) {
	for i := range s.all {
		if s.all[i].pool != nil { // nil when newLanes has failed
			pools = append(pools, s.all[i].pool)
		}
	}
	return pools
}
