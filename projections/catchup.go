package projections

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// Projections derives the read models and answers queries on them.
type Projections struct {
	db    *pg.DB
	store *eventstore.Store
	bell  *eventstore.Bell
	bound time.Duration // the longest that a read spends on catching up
	shape int           // the Shape of this process

	mu      sync.Mutex
	flights map[uuid.UUID]*flight // the catch-ups under way in this process

	knowns knowns
}

// Bound is how long a read catches up by default. After that the read answers with the read models as they are.
const Bound = 2 * time.Second

// New makes the projections of the logs in store. bell wakes followers when there is more to read.
func New(db *pg.DB, store *eventstore.Store, bell *eventstore.Bell, bound time.Duration) *Projections {
	return &Projections{db: db, store: store, bell: bell, bound: bound, shape: Shape, flights: map[uuid.UUID]*flight{}}
}

// patience is how long a command, or the background, catches up at most.
const patience = 10 * time.Second

// CatchUp folds the log from the checkpoint to the head, one page in each transaction, and gives the mark that it reached. When only a newer
// process can fold, CatchUp waits for such a process; without one, the error is ErrNewer.
func (p *Projections) CatchUp(ctx context.Context, w pg.Workspace) (Mark, error) {
	for end := time.Now().Add(patience); ; {
		mark, err := p.catchUp(ctx, w, time.Until(end))
		if !errors.Is(err, domain.ErrNewer) || time.Now().After(end) {
			return mark, err
		}
		for mark.Shape = math.MaxInt; mark.Shape > p.shape && time.Now().Before(end); {
			p.awaitNewer(ctx, w, end)
			if mark, err = p.Read(ctx, w); err != nil || mark.Behind() == 0 {
				return mark, err
			}
		}
	}
}

// Fold is CatchUp without waiting: when only a newer process can fold, the error is ErrNewer at once.
func (p *Projections) Fold(ctx context.Context, w pg.Workspace) (Mark, error) {
	return p.catchUp(ctx, w, patience)
}

// awaitNewer gives a newer process a moment to fold.
func (p *Projections) awaitNewer(ctx context.Context, w pg.Workspace, end time.Time) {
	_ = waitFor(ctx, p.bell.Of(w), min(20*time.Millisecond, time.Until(end)))
}

// flight is a catch-up under way. Other callers in this process wait for it and hold no connection meanwhile. So a workspace whose checkpoint
// is locked by another process does not use up the connections of other workspaces.
type flight struct {
	begun time.Time
	done  chan struct{}
	mark  Mark
	err   error
}

// catchUp is CatchUp with a time limit. Past the limit, catchUp begins no page and waits no longer for another flight. A page that was begun is
// always finished, so that even callers with little time make progress.
func (p *Projections) catchUp(ctx context.Context, w pg.Workspace, long time.Duration) (Mark, error) {
	called := time.Now()
	end := called.Add(long)
	for {
		f, mine := p.join(w)
		if mine {
			f.mark, f.err = p.fly(ctx, w, end)
			p.mu.Lock()
			delete(p.flights, w.ID)
			p.mu.Unlock()
			close(f.done)
			return f.mark, f.err
		}
		if err := waitFor(ctx, f.done, time.Until(end)); err != nil {
			return Mark{}, fmt.Errorf("catch up workspace %s: %w", w.ID, err)
		}
		if f.begun.After(called) && f.err == nil { // a flight that began before the call may have missed the last events
			return f.mark, nil
		}
	}
}

func (p *Projections) join(w pg.Workspace) (f *flight, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f = p.flights[w.ID]
	if f == nil {
		f, mine = &flight{begun: time.Now(), done: make(chan struct{})}, true
		p.flights[w.ID] = f
	}
	return f, mine
}

func waitFor(ctx context.Context, done <-chan struct{}, long time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly catches up, and tries again until end, because the holder of the checkpoint's lock may be stuck.
func (p *Projections) fly(ctx context.Context, w pg.Workspace, end time.Time) (Mark, error) {
	for {
		var done step
		err := p.db.In(ctx, w, func(tx *pg.Tx) (err error) {
			done, err = p.foldPage(ctx, tx, time.Until(end))
			return err
		})
		if err == nil && done.mark.Behind() > eventstore.PageEvents && time.Now().Before(end) {
			done.mark, err = p.foldAhead(ctx, w, done.mark, end)
		}
		switch {
		case pg.Is(err, pg.LockNotAvailable) && time.Now().Before(end):
		case err != nil:
			return Mark{}, fmt.Errorf("catch up workspace %s: %w", w.ID, err)
		case done.mark.Behind() == 0 || time.Now().After(end):
			return done.mark, nil
		}
	}
}

// step is the outcome of folding one page.
type step struct {
	mark   Mark // after the page
	events int
}

// foldColumns are the columns of a record that a fold needs, for decodeRow.
const foldColumns = `position, stream, version, type, at, actor, data`

// decodeRow reads a record of the domain, and the query's further columns into more. The data are decoded in the driver's own memory, because
// no fold keeps them.
func decodeRow(row pgx.CollectableRow, more ...any) (r domain.Record, err error) {
	var eventType string
	var actor pgtype.UUID
	var data pgtype.DriverBytes
	if err := row.Scan(append([]any{&r.Position, &r.Stream, &r.Version, &eventType, &r.At, &actor, &data}, more...)...); err != nil {
		return r, err
	}
	r.Actor = actor.Bytes
	if r.Event, err = domain.Decode(eventType, data); err != nil {
		return r, fmt.Errorf("position %d: %w", r.Position, err)
	}
	r.Original = domain.OriginalOf(data)
	return r, nil
}

// lock gives the statements that lock the checkpoint and compare it with the log. wait is the longest wait for the lock.
func (m *Mark) lock(wait time.Duration) []pg.Statement {
	return []pg.Statement{
		commitAsync(),
		lockFor(wait),
		pg.Exec(`select position, roster, shape, oldest from checkpoint for update`).Scan(&m.Position, &m.Roster, &m.Shape, &m.Oldest),
		pg.Exec(`select position from head`).Scan(&m.Head),
	}
}

// foldPage locks the checkpoint, reads the next page of events, folds it into every read model and moves the checkpoint, in three round
// trips of one transaction. A crash leaves all of it or nothing. wait is the longest wait for the lock.
func (p *Projections) foldPage(ctx context.Context, tx *pg.Tx, wait time.Duration) (step, error) {
	var mark Mark
	var records []domain.Record
	row := func(row pgx.CollectableRow) (domain.Record, error) { return decodeRow(row) }
	err := tx.Run(ctx, append(mark.lock(wait), pg.Collect(&records, row, `select `+foldColumns+` from event
		where position > (select position from checkpoint) and position <= `+eventstore.PageEnd+`(select position from checkpoint)`+eventstore.PageEnds+`
		order by position`, eventstore.PageEvents, eventstore.PageBytes, int64(math.MaxInt64)))...)
	if mark.Shape > p.shape {
		return step{}, domain.ErrNewer // before any other error, because this process may not be able to decode the page
	}
	if err == nil && len(records) == 0 && mark.Position < mark.Head {
		err = &eventstore.GapError{Want: mark.Position + 1}
	}
	if err != nil || len(records) == 0 {
		mark.RosterHead = mark.Roster
		return step{mark: mark}, err
	}
	return p.foldRecords(ctx, tx, records, mark)
}

// foldRecords folds a page into the read models, which are at mark, and moves the checkpoint. The caller has locked the checkpoint.
func (p *Projections) foldRecords(ctx context.Context, tx *pg.Tx, records []domain.Record, mark Mark) (step, error) {
	if mark.Shape == 0 { // nothing was folded yet
		mark.Oldest = p.shape
	}
	mark.Shape = p.shape
	ctx, span := telemetry.BeginAfter(ctx, "fold", tx.Workspace(), records[0].Position, records[len(records)-1].Position)
	defer span.End()
	stores, err := foldIn(ctx, tx, records, &mark)
	if err != nil {
		return step{}, err
	}
	if err := tx.Commit(ctx, stores...); err != nil {
		return step{}, fmt.Errorf("store rows up to position %d: %w", mark.Position, err)
	}
	telemetry.Folded.Add(float64(len(records)))
	lag := time.Since(records[0].At)
	telemetry.FoldLag.Observe(lag.Seconds())
	span.Int("kluis.events", int64(len(records)))
	span.Seconds("kluis.lag_seconds", lag)
	return step{mark: mark, events: len(records)}, nil
}

// commitAsync lets a commit be answered before it is on disk. When a crash of Postgres loses such a commit, rows and checkpoint are lost
// together, and the next catch-up derives them again from the events, which are on disk.
func commitAsync() pg.Statement { return pg.Exec(`set local synchronous_commit = off`) }

// lockFor bounds the wait for locks from here on in the transaction: by about d, and by a second at most. The texts are constants, because a
// setting takes no parameter.
func lockFor(d time.Duration) pg.Statement {
	switch {
	case d < 200*time.Millisecond:
		return pg.Exec(`set local lock_timeout = '50ms'`)
	case d < time.Second:
		return pg.Exec(`set local lock_timeout = '200ms'`)
	}
	return pg.Exec(`set local lock_timeout = '1s'`)
}

// foldIn folds a page of records into the rows of every read model, which are at mark, and moves mark behind the page. The caller runs the
// returned statements, which store the last rows. Rows are loaded a few at a time, because a small event may be about a large thing.
func foldIn(ctx context.Context, tx *pg.Tx, records []domain.Record, mark *Mark) (stores []pg.Statement, err error) {
	if err := mark.pass(records); err != nil {
		return nil, err
	}
	for batch := range batches(distribute(records)) {
		asked := stores // the stores of the batch before, in one round trip with the loads of this batch, which are of other rows
		for _, f := range batch {
			asked = append(asked, f.load()...)
		}
		if len(asked) > 0 {
			if err := tx.Run(ctx, asked...); err != nil {
				return nil, fmt.Errorf("load and store rows up to position %d: %w", mark.Position, err)
			}
		}
		stores = nil
		for _, f := range batch {
			f.apply()
			left, err := f.store(ctx, tx)
			if err != nil {
				return nil, err
			}
			stores = append(stores, left...)
		}
	}
	return append(stores, pg.Exec(`update checkpoint set position = $1, roster = $2, shape = $3, oldest = $4`, mark.Position, mark.Roster, mark.Shape, mark.Oldest)), nil
}

// pass moves a mark behind records, which must be the next ones of the log.
func (m *Mark) pass(records []domain.Record) error {
	for _, r := range records {
		if r.Position != m.Position+1 {
			return &eventstore.GapError{Want: m.Position + 1, Got: r.Position}
		}
		m.Position = r.Position
		if r.Stream == domain.RosterStream {
			m.Roster = r.Version
		}
	}
	m.Head, m.RosterHead = max(m.Head, m.Position), max(m.RosterHead, m.Roster)
	return nil
}

// distribute sorts the records by the read models that they change.
func distribute(records []domain.Record) []fold {
	folds := make([]fold, len(models))
	for i, m := range models {
		folds[i] = m.fold()
		for j := range records {
			if id, ok := m.row(records[j]); ok {
				folds[i].add(id, &records[j])
			}
		}
	}
	return folds
}

// maxLoaded is how many loaded rows are in memory at once: some 30 MB of the largest possible things.
const maxLoaded = 128

// batches groups folds, and parts of large folds, so that each group loads at most maxLoaded rows. Most pages make one group.
func batches(folds []fold) func(yield func([]fold) bool) {
	return func(yield func([]fold) bool) {
		var batch []fold
		room := maxLoaded
		for _, f := range folds {
			for rest := f; rest != nil; {
				var part fold
				part, rest = rest.split(room)
				batch, room = append(batch, part), room-part.loads()
				if rest == nil {
					break
				}
				if !yield(batch) {
					return
				}
				batch, room = nil, maxLoaded
			}
		}
		yield(batch)
	}
}

// Decode turns stored records into the domain's.
func Decode(stored []eventstore.Record) ([]domain.Record, error) {
	records := make([]domain.Record, len(stored))
	for i, s := range stored {
		event, err := domain.Decode(s.Type, s.Data)
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", s.Position, err)
		}
		records[i] = domain.Record{Position: s.Position, Stream: s.Stream, Version: s.Version, At: s.At, Event: event, Original: domain.OriginalOf(s.Data)}
		if s.Actor != nil {
			records[i].Actor = *s.Actor
		}
	}
	return records, nil
}
