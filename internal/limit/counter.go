package limit

import (
	"cmp"
	"context"
	_ "embed" // the statements
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

// Open opens the limits of a migrated database.
func Open(ctx context.Context, db *pg.DB, ring *keyring.Keyring, rules Rules, log *slog.Logger) (*Limits, error) {
	key, err := openKey(ctx, db, ring, log)
	if err != nil {
		return nil, err
	}
	l := &Limits{db: db, key: key, rules: rules}
	l.members.rule = rules[APIMember]
	return l, nil
}

// Counter is one limit for one subject. Subject and circle may be personal data, so the database has keyed hashes of them.
type Counter struct {
	Name    string
	Subject string
	Circle  string // of callers with a count of their own for the subject; "" is everybody else
	Times   int    // room for this many times the rule; 0 means once
}

// ExceededError says which limit was reached, and how long it lasts.
type ExceededError struct {
	Name string
	Wait time.Duration
	Busy bool // only attempts under way take the room
}

func (e *ExceededError) Error() string { return fmt.Sprintf("limit %s: wait %s", e.Name, e.Wait) }

// rows are counters as the database has them, in the order in which every transaction locks them.
type rows struct {
	names             []string
	subjects, circles [][]byte
	most              []int
	span              []float64 // seconds
	locks             []bool
}

func (l *Limits) rowsOf(counters []Counter) (r rows) {
	counters = slices.Clone(counters)
	slices.SortFunc(counters, func(a, b Counter) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Circle, b.Circle))
	})
	for _, c := range counters {
		rule, limited := l.rules[c.Name]
		if !limited {
			continue
		}
		r.names, r.subjects, r.circles = append(r.names, c.Name), append(r.subjects, l.subject(c)), append(r.circles, l.circle(c))
		r.most, r.span = append(r.most, rule.Most*max(1, c.Times)), append(r.span, rule.Span.Seconds())
		r.locks = append(r.locks, c.Name == LoginAccount)
	}
	return r
}

func (l *Limits) subject(c Counter) []byte {
	return l.key.MAC("kluis/limit/"+c.Name, []byte(c.Subject))
}

func (l *Limits) circle(c Counter) []byte {
	if c.Circle == "" {
		return []byte{}
	}
	return l.key.MAC("kluis/limit/circle/"+c.Name, []byte(c.Circle))
}

// The statements of one take, in this order in one transaction. Each sees what was committed before it began. So takeHit sees rows that no other
// transaction can change meanwhile.
const (
	ensureRows = `insert into kluis.counter (name, subject, circle, keep_until)
		select name, subject, circle, clock_timestamp() + interval '1 minute' from unnest($1::text[], $2::bytea[], $3::bytea[]) as r (name, subject, circle)
		order by name, subject, circle on conflict do nothing`
	lockRows = `select from kluis.counter where (name, subject, circle) in (select * from unnest($1::text[], $2::bytea[], $3::bytea[]))
		order by name, subject, circle for update`
	sweepRows = `delete from kluis.counter where (name, subject, circle) in (select name, subject, circle from kluis.counter
		where keep_until < clock_timestamp() limit $1 for update skip locked)`
)

//go:embed take.sql
var takeHit string

// verdict is what takeHit says of one counter.
type verdict struct {
	Name    string
	At      time.Time
	Wait    *float64 // seconds; nil when the failures leave room
	Crowded bool     // the failures and the attempts under way together leave none
}

// One in sweepEvery takes sweeps rows that say nothing any more. It deletes more of them than are made between two sweeps.
const (
	sweepEvery = 100
	sweepMost  = 1000
)

// An attempt has openFor for its outcome, and that includes its wait for a place to be compared. One without an outcome by then counts as
// failed, because its process has died. A caller who finds only attempts under way in the way is told to wait for busyFor.
const (
	openFor = time.Minute
	busyFor = 2 * time.Second
)

// Take counts one hit on each counter or, when any of them has no room, on none: then the error is an ExceededError. It is one round trip.
// When it returns, the count is committed.
func (l *Limits) Take(ctx context.Context, counters ...Counter) error {
	_, err := l.hit(ctx, false, counters)
	return err
}

// hit is what was counted. The zero hit is nothing.
type hit struct {
	rows rows
	at   time.Time // no two hits of a subject have the same
}

func (l *Limits) hit(ctx context.Context, open bool, counters []Counter) (hit, error) {
	if l == nil {
		return hit{}, nil
	}
	rows := l.rowsOf(counters)
	if len(rows.names) == 0 {
		return hit{}, nil
	}
	for range 10 {
		verdicts, err := l.reserve(ctx, rows, open)
		if pg.Is(err, pg.Deadlock) {
			continue
		}
		if err != nil {
			return hit{}, fmt.Errorf("count for the limits %v: %w", rows.names, err)
		}
		if len(verdicts) == len(rows.names) { // otherwise a sweep has deleted a row between making and locking it
			return hit{rows, verdicts[0].At}, judge(verdicts)
		}
	}
	return hit{}, fmt.Errorf("count for the limits %v: other processes keep deleting the rows", rows.names)
}

// judge returns the longest wait as an ExceededError; nil when there is room everywhere.
func judge(verdicts []verdict) error {
	var exceeded *ExceededError
	for _, v := range verdicts {
		var e *ExceededError
		switch {
		case v.Wait != nil:
			e = &ExceededError{Name: v.Name, Wait: time.Duration(*v.Wait * float64(time.Second))}
		case v.Crowded:
			e = &ExceededError{Name: v.Name, Wait: busyFor, Busy: true}
		default:
			continue
		}
		if exceeded == nil || exceeded.Busy && !e.Busy || exceeded.Busy == e.Busy && e.Wait > exceeded.Wait {
			exceeded = e
		}
	}
	if exceeded == nil {
		return nil
	}
	return exceeded
}

func (l *Limits) reserve(ctx context.Context, r rows, open bool) (verdicts []verdict, err error) {
	batch := &pgx.Batch{}
	batch.Queue(ensureRows, r.names, r.subjects, r.circles)
	batch.Queue(lockRows, r.names, r.subjects, r.circles)
	pg.Rows(&verdicts, takeHit, r.names, r.subjects, r.circles, r.most, r.span, l.ahead.Seconds(), open, openFor.Seconds()).Queue(batch)
	if l.takes.Add(1)%sweepEvery == 0 {
		batch.Queue(sweepRows, sweepMost)
	}
	return verdicts, l.db.Pool().SendBatch(ctx, batch).Close()
}

// Full tells whether the failures alone have reached the limit in any circle of a subject.
func (l *Limits) Full(ctx context.Context, counters ...Counter) (full bool, err error) {
	if l == nil {
		return false, nil
	}
	r := l.rowsOf(counters)
	err = l.db.Pool().QueryRow(ctx, `select exists (
		select from unnest($1::text[], $2::bytea[], $3::integer[], $4::float8[]) as r (name, subject, most, seconds)
		join kluis.counter c using (name, subject)
		cross join (select clock_timestamp() + make_interval(secs => $5) as at) as moment
		where c.locked_until > at or r.most <= (select count(*) from unnest(c.hits) h
			where h > at - make_interval(secs => r.seconds) and h > coalesce(c.locked_until, '-infinity') and h <> all(c.open)))`,
		r.names, r.subjects, r.most, r.span, l.ahead.Seconds()).Scan(&full)
	if err != nil {
		return false, fmt.Errorf("look up the limits %v: %w", r.names, err)
	}
	return full, nil
}

// Forget deletes all that was counted of some subjects, in a transaction of the login.
func (l *Limits) Forget(ctx context.Context, tx pgx.Tx, subjects ...string) error {
	if l == nil {
		return nil
	}
	var names []string
	var hashes [][]byte
	for name := range Defaults() {
		for _, subject := range subjects {
			names, hashes = append(names, name), append(hashes, l.subject(Counter{Name: name, Subject: subject}))
		}
	}
	for _, subject := range subjects {
		names, hashes = append(names, known), append(hashes, l.subject(Counter{Name: known, Subject: subject}))
	}
	if _, err := tx.Exec(ctx, `delete from kluis.counter where (name, subject) in (select * from unnest($1::text[], $2::bytea[]))`, names, hashes); err != nil {
		return fmt.Errorf("forget what was counted: %w", err)
	}
	return nil
}

// Clear has counters begin anew in all circles, and ends their locks, in a transaction of the login. It leaves counters alone that were hit after
// until, unless that is the zero time.
func (l *Limits) Clear(ctx context.Context, tx pgx.Tx, until time.Time, counters ...Counter) error {
	if l == nil {
		return nil
	}
	r := l.rowsOf(counters)
	if _, err := tx.Exec(ctx, `delete from kluis.counter where (name, subject) in (select * from unnest($1::text[], $2::bytea[]))
		and ($3 or not exists (select from unnest(hits) h where h > $4))`, r.names, r.subjects, until.IsZero(), until); err != nil {
		return fmt.Errorf("clear the limits %v: %w", r.names, err)
	}
	return nil
}
