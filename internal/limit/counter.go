package limit

import (
	"cmp"
	"context"
	_ "embed" // the statements
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Limits counts and refuses. A nil *Limits limits nothing.
type Limits struct {
	db      *pg.DB
	key     keyring.DataKey
	rules   Rules
	members members
	takes   atomic.Int64
	ahead   time.Duration // of the database's clock; for tests
}

// Open gives the limits of a migrated database, with these rules.
func Open(ctx context.Context, db *pg.DB, ring *keyring.Keyring, rules Rules, log *slog.Logger) (*Limits, error) {
	key, err := openKey(ctx, db, ring, log)
	if err != nil {
		return nil, err
	}
	l := &Limits{db: db, key: key, rules: rules}
	l.members.rule = rules[APIMember]
	return l, nil
}

// Counter is one limit for one subject. The subject may be personal data: it is stored as a keyed hash.
type Counter struct {
	Name    string
	Subject string
}

// Hit is what Take counted. The zero Hit is none.
type Hit struct {
	Locked time.Time // until when the account is locked, if this hit stands; zero if it locked nothing
	Again  bool      // it was locked before, within a day

	rows rows
	at   time.Time // each hit of a subject has an instant of its own
}

// ExceededError says which limit was reached, and how long it lasts.
type ExceededError struct {
	Name string
	Wait time.Duration
}

func (e *ExceededError) Error() string { return fmt.Sprintf("limit %s: wait %s", e.Name, e.Wait) }

// rows are counters as the database knows them, in the order in which everybody locks them.
type rows struct {
	names    []string
	subjects [][]byte
}

func (l *Limits) rowsOf(counters []Counter) (r rows) {
	counters = slices.Clone(counters)
	slices.SortFunc(counters, func(a, b Counter) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range counters {
		if _, limited := l.rules[c.Name]; limited {
			r.names, r.subjects = append(r.names, c.Name), append(r.subjects, l.subject(c))
		}
	}
	return r
}

func (l *Limits) subject(c Counter) []byte {
	return l.key.MAC("kluis/limit/"+c.Name, []byte(c.Subject))
}

// The statements of one Take, in this order in one transaction. Each sees what was committed before it began: take
// sees rows that nobody can change meanwhile.
const (
	ensureRows = `insert into kluis.counter (name, subject, keep_until)
		select name, subject, clock_timestamp() + interval '1 minute' from unnest($1::text[], $2::bytea[]) as r (name, subject)
		order by name, subject on conflict do nothing`
	lockRows = `select from kluis.counter where (name, subject) in (select * from unnest($1::text[], $2::bytea[]))
		order by name, subject for update`
	sweepRows = `delete from kluis.counter where (name, subject) in (select name, subject from kluis.counter
		where keep_until < clock_timestamp() limit $1 for update skip locked)`
)

//go:embed take.sql
var takeHit string

// verdict is what takeHit says of one counter.
type verdict struct {
	Name   string
	At     time.Time
	Wait   *float64   // seconds; nil when there is room
	Locked *time.Time // what the hit locks
	Streak int        // locks before that
}

// sweepEvery is after how many takes one looks for rows that say nothing any more; it deletes more of them than
// were made meanwhile.
const (
	sweepEvery = 100
	sweepMost  = 1000
)

// Take counts one hit on each counter, of different names, or, when any has no room, on none. The error is an
// ExceededError then. It is one round trip; what it counted is committed when it answers.
func (l *Limits) Take(ctx context.Context, counters ...Counter) (Hit, error) {
	if l == nil {
		return Hit{}, nil
	}
	rows := l.rowsOf(counters)
	if len(rows.names) == 0 {
		return Hit{}, nil
	}
	for range 10 {
		verdicts, err := l.take(ctx, rows)
		if pg.Is(err, pg.Deadlock) {
			continue
		}
		if err != nil {
			return Hit{}, fmt.Errorf("count for the limits %v: %w", rows.names, err)
		}
		if len(verdicts) == len(rows.names) { // else a row was deleted between making and locking it
			return judge(rows, verdicts)
		}
	}
	return Hit{}, fmt.Errorf("count for the limits %v: the rows do not stay", rows.names)
}

func judge(r rows, verdicts []verdict) (Hit, error) {
	hit := Hit{rows: r, at: verdicts[0].At}
	var exceeded *ExceededError
	for _, v := range verdicts {
		if v.Locked != nil {
			hit.Locked, hit.Again = *v.Locked, v.Streak > 0
		}
		if v.Wait == nil {
			continue
		}
		wait := time.Duration(*v.Wait * float64(time.Second))
		if exceeded == nil || wait > exceeded.Wait {
			exceeded = &ExceededError{Name: v.Name, Wait: wait}
		}
	}
	if exceeded != nil {
		return Hit{}, exceeded
	}
	return hit, nil
}

func (l *Limits) take(ctx context.Context, r rows) (verdicts []verdict, err error) {
	most, span, locks := make([]int, len(r.names)), make([]float64, len(r.names)), make([]bool, len(r.names))
	for i, name := range r.names {
		rule := l.rules[name]
		most[i], span[i], locks[i] = rule.Most, rule.Span.Seconds(), name == LoginAccount
	}
	batch := &pgx.Batch{}
	batch.Queue(ensureRows, r.names, r.subjects)
	batch.Queue(lockRows, r.names, r.subjects)
	pg.Rows(&verdicts, takeHit, r.names, r.subjects, most, span, locks, l.ahead.Seconds()).Queue(batch)
	if l.takes.Add(1)%sweepEvery == 0 {
		batch.Queue(sweepRows, sweepMost)
	}
	return verdicts, l.db.Pool().SendBatch(ctx, batch).Close()
}

const (
	clearRows = `delete from kluis.counter where name = any($3) and (name, subject) in (select * from unnest($1::text[], $2::bytea[]))`

	// A lock stands only while all hits that made it do. The streak of locks goes on behind the hits that are left.
	giveBack = `update kluis.counter set hits = array_remove(hits, $3),
			locked_until = case when locked_until > $3
				then coalesce((select min(h) from unnest(hits) h where h <> $3) - interval '1 microsecond', $3) else locked_until end,
			lock_count = lock_count - case when locked_until > $3 then 1 else 0 end
		where (name, subject) in (select * from unnest($1::text[], $2::bytea[])) and $3::timestamptz = any(hits)`
)

// GiveBack takes a hit off its counters, because what it was for turned out well or did not happen. The counters of
// the names in anew begin again.
func (l *Limits) GiveBack(ctx context.Context, h Hit, anew ...string) error {
	if l == nil || len(h.rows.names) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	batch.Queue(lockRows, h.rows.names, h.rows.subjects)
	batch.Queue(clearRows, h.rows.names, h.rows.subjects, anew)
	batch.Queue(giveBack, h.rows.names, h.rows.subjects, h.at)
	if err := l.db.Pool().SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("give back a hit on the limits %v: %w", h.rows.names, err)
	}
	return nil
}

// Locked tells whether the subject of a limit that locks is locked now.
func (l *Limits) Locked(ctx context.Context, c Counter) (locked bool, err error) {
	if l == nil {
		return false, nil
	}
	err = l.db.Pool().QueryRow(ctx, `select exists (select from kluis.counter
		where name = $1 and subject = $2 and locked_until > clock_timestamp() + make_interval(secs => $3))`,
		c.Name, l.subject(c), l.ahead.Seconds()).Scan(&locked)
	if err != nil {
		return false, fmt.Errorf("look up the limit %s: %w", c.Name, err)
	}
	return locked, nil
}

// Clear makes a counter begin anew, and ends its lock, in a transaction of the login. It leaves a counter alone that was
// hit after until; the zero time is never.
func (l *Limits) Clear(ctx context.Context, tx pgx.Tx, c Counter, until time.Time) error {
	if l == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, `delete from kluis.counter where name = $1 and subject = $2
		and ($3 or not exists (select from unnest(hits) h where h > $4))`, c.Name, l.subject(c), until.IsZero(), until); err != nil {
		return fmt.Errorf("clear the limit %s: %w", c.Name, err)
	}
	return nil
}
