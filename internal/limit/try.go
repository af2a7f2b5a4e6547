package limit

import (
	"context"
	_ "embed" // the statement
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Try is an attempt at something that is compared:
//
//  1. The attempt is counted, and that is committed, before the comparison.
//  2. Until it is settled, the attempt is under way, and takes room. So of any number of attempts at once, no more are compared than may
//     fail. A caller who finds no room only because of attempts under way waits for seconds.
//  3. The outcome settles it once: Failed or GiveBack.
type Try struct {
	l    *Limits
	hits []hit
}

// Lock is what a failure has locked; the zero Lock is nothing.
type Lock struct {
	Until time.Time
	Again bool // it had been locked before, within a day
}

// Try reserves an attempt on groups of counters, one group after the other. When one of them has no room, nothing is counted on any group, and the
// error is an ExceededError.
func (l *Limits) Try(ctx context.Context, groups ...[]Counter) (Try, error) {
	t := Try{l: l}
	for _, counters := range groups {
		h, err := l.hit(ctx, true, counters)
		if err != nil {
			return Try{}, errors.Join(err, t.GiveBack(context.WithoutCancel(ctx)))
		}
		t.hits = append(t.hits, h)
	}
	return t, nil
}

//go:embed fail.sql
var failHit string

// Failed settles the attempt as a failure, which stays counted.
func (t Try) Failed(ctx context.Context) (lock Lock, err error) {
	for _, h := range t.hits {
		if len(h.rows.names) == 0 {
			continue
		}
		var locks []struct {
			Locked time.Time
			Streak int
		}
		r := h.rows
		batch := &pgx.Batch{}
		batch.Queue(lockRows, r.names, r.subjects, r.circles)
		pg.Rows(&locks, failHit, r.names, r.subjects, r.circles, r.most, r.span, r.locks, h.at, t.l.ahead.Seconds(), openFor.Seconds()).Queue(batch)
		if err := t.l.db.Pool().SendBatch(ctx, batch).Close(); err != nil {
			return lock, fmt.Errorf("settle an attempt on the limits %v: %w", r.names, err)
		}
		for _, made := range locks {
			lock = Lock{Until: made.Locked, Again: made.Streak > 0}
		}
	}
	return lock, nil
}

const (
	clearRows = `delete from kluis.counter where name = any($4) and (name, subject, circle) in (select * from unnest($1::text[], $2::bytea[], $3::bytea[]))`
	giveBack  = `update kluis.counter set hits = array_remove(hits, $4), open = array_remove(open, $4)
		where (name, subject, circle) in (select * from unnest($1::text[], $2::bytea[], $3::bytea[])) and $4::timestamptz = any(hits)`
)

// GiveBack takes the attempt off its counters, because it was right or did not happen. The counters whose names are in anew begin again.
func (t Try) GiveBack(ctx context.Context, anew ...string) error {
	for _, h := range t.hits {
		r := h.rows
		if len(r.names) == 0 {
			continue
		}
		batch := &pgx.Batch{}
		batch.Queue(lockRows, r.names, r.subjects, r.circles)
		batch.Queue(clearRows, r.names, r.subjects, r.circles, anew)
		batch.Queue(giveBack, r.names, r.subjects, r.circles, h.at)
		if err := t.l.db.Pool().SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("give back an attempt on the limits %v: %w", r.names, err)
		}
	}
	return nil
}
