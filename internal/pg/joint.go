package pg

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// joint stores, in one transaction, what several workspaces of a lane want to store at the same moment. For all of them it is one commit on
// the disk and one round trip.
//
//  1. The first caller leads. It sends all parts that wait, its own among them, in the order of the workspaces' ids. So two
//     processes that want the same rows never wait for each other in a circle.
//  2. In that transaction each part takes the role of its workspace before its own statements. So it sees and changes what it would alone.
//  3. Callers that come meanwhile wait. When the leader has its answers, the first of them leads.
//  4. A part that Postgres refuses, or that waits for a row for longer than a moment, undoes the whole transaction. The caller of that part
//     does it alone, and gets its error. The other parts go together once more.
//  5. When the connection is lost, nobody knows whether the transaction was committed. Each caller gets that error.
type joint struct {
	mu      sync.Mutex
	led     bool
	waiting []*writer
}

// writer is a caller with a part to store.
type writer struct {
	part
	alone func() error // does the part in a transaction of its own
	stale func() bool  // tells whether the database has become another one since the gate was passed
	turn  chan outcome // has room for one
}

// part is what one workspace has in a transaction of several.
type part struct {
	tx         *Tx
	statements []Statement
	answered   bool  // Postgres has answered all of it
	failed     error // of reading an answer: it undoes nothing
}

// outcome says what a writer does next: lead, do its part alone, or return err.
type outcome struct {
	lead, alone bool
	err         error
}

const (
	mostParts  = 64                     // in one transaction
	moment     = 100 * time.Millisecond // for a lock: lock_timeout in enterBriefly
	jointLimit = 10 * time.Second       // for the whole transaction
)

// Together is Do, in one transaction with what other workspaces store at the same moment. It is for a few short statements that lock known
// rows. Through a pooler it is Do.
func (db *DB) Together(ctx context.Context, w Workspace, statements ...Statement) error {
	if db.pooler || db.owned { // through a pooler each transaction describes the statements anew, in a round trip for each workspace
		return db.Do(ctx, w, statements...)
	}
	p, incarnation := &writer{part: db.part(w, pgx.TxOptions{}, statements), turn: make(chan outcome, 1)}, db.Incarnation()
	p.alone = func() error { return db.Do(ctx, w, statements...) }
	p.stale = func() bool { return db.Incarnation() != incarnation }
	if db.gate != nil { // which gets errors to judge when the part is done alone
		if err := db.gate(ctx, w, nil); err != nil {
			return err
		}
	}
	return db.lane(w).together(ctx, p)
}

// part makes the part of a workspace in a transaction with these options.
func (db *DB) part(w Workspace, options pgx.TxOptions, statements []Statement) part {
	tx := db.tx(nil, w, options)
	tx.brief = true
	return part{tx: tx, statements: statements}
}

func (l *lane) together(ctx context.Context, p *writer) error {
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	lead := !l.led
	l.led = true
	l.mu.Unlock()
	for {
		if lead {
			l.lead(ctx)
		}
		o := <-p.turn
		if o.alone {
			return p.alone()
		}
		if lead = o.lead; !lead {
			return o.err
		}
		runtime.Gosched() // callers that have just got their answers may have more to store: it comes along
	}
}

// lead does what waits, and has another writer lead when more has come.
func (l *lane) lead(ctx context.Context) {
	l.mu.Lock()
	n := min(len(l.waiting), mostParts)
	writers := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.mu.Unlock()
	if n > 1 {
		l.next(l.send(ctx, writers))
		return
	}
	next := sync.OnceFunc(func() { l.next(nil) })
	waits := time.AfterFunc(moment, next) // for a row that somebody holds: the others do not wait for it
	writers[0].turn <- outcome{err: writers[0].alone()}
	waits.Stop()
	next()
}

// next has the first writer lead of those that go once more, and of those that wait.
func (l *lane) next(again []*writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(again, l.waiting...)
	if l.led = len(l.waiting) > 0; l.led {
		l.waiting[0].turn <- outcome{lead: true}
	}
}

// send sends parts and answers their writers. It returns the writers whose parts go once more.
func (l *lane) send(ctx context.Context, writers []*writer) (again []*writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointLimit)
	defer cancel()
	slices.SortFunc(writers, func(a, b *writer) int { return slices.Compare(a.tx.of[:], b.tx.of[:]) })
	blamed := -1
	conn, giveBack, err := l.sit(ctx, forWrites)
	if err == nil {
		defer giveBack() // behind the answers, because closing a connection may take a while
		if writers = fresh(writers); len(writers) == 0 {
			return nil
		}
		blamed, err = sendAll(ctx, conn, partsOf(writers))
	}
	for i, w := range writers {
		switch {
		case err == nil:
			w.turn <- outcome{err: w.failed}
		case Lost(err):
			w.turn <- outcome{err: err}
		case blamed < 0 || blamed == i:
			w.turn <- outcome{alone: true}
		default:
			w.answered, w.failed = false, nil
			again = append(again, w)
		}
	}
	return again
}

// fresh keeps the writers that passed the gate in this incarnation of the database. The others do their part alone, and pass the gate again.
func fresh(writers []*writer) []*writer {
	return slices.DeleteFunc(writers, func(w *writer) bool {
		stale := w.stale()
		if stale {
			w.turn <- outcome{alone: true}
		}
		return stale
	})
}

func partsOf(writers []*writer) (parts []*part) {
	for _, w := range writers {
		parts = append(parts, &w.part)
	}
	return parts
}

// sendAll sends parts in one transaction. When Postgres refuses it, blamed is the part that it refused; -1 when that was the commit.
func sendAll(ctx context.Context, conn *pgxpool.Conn, parts []*part) (blamed int, err error) {
	defer func() { (&Tx{conn: conn, open: err != nil}).rollback(ctx) }()
	batch := &pgx.Batch{}
	batch.BeginTx(parts[0].tx.options)
	for i, p := range parts {
		p.tx.conn = conn
		if batch, err = p.tx.ready(ctx, batch, p.statements); err != nil {
			return i, err
		}
	}
	for _, p := range parts {
		p.queue(batch)
	}
	batch.Queue("commit")
	if err = conn.Conn().SendBatch(ctx, batch).Close(); err == nil {
		err = acknowledged(ctx, conn.Conn())
	}
	return slices.IndexFunc(parts, func(p *part) bool { return !p.answered }), err
}

// becomeLogin makes a transaction the login's again: only the login may take the role of another workspace.
const becomeLogin = `set local role none`

// ready prepares the statements of a workspace that the connection does not know yet, within a joint transaction. To do so it sends the
// batch of before, and returns a new one.
func (tx *Tx) ready(ctx context.Context, batch *pgx.Batch, statements []Statement) (*pgx.Batch, error) {
	if tx.prepared(statements) {
		return batch, nil
	}
	entered := false
	tx.queueEnter(batch, &entered)
	if err := tx.conn.Conn().SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	batch = &pgx.Batch{}
	batch.Queue(becomeLogin)
	return batch, tx.prepare(ctx, statements)
}

// queue queues the part. A missing row or another error in reading an answer fails this part alone: the transaction is committed, and so is
// what the part has stored.
func (p *part) queue(batch *pgx.Batch) {
	entered := false
	p.tx.queueEnter(batch, &entered)
	first := len(batch.QueuedQueries)
	p.tx.queue(batch, p.statements)
	defer batch.Queue(becomeLogin)
	for i, s := range p.statements {
		last := i == len(p.statements)-1
		queued := batch.QueuedQueries[first+i]
		if s.read == nil {
			queued.Exec(func(pgconn.CommandTag) error { p.answered = last; return nil })
			continue
		}
		queued.Query(func(rows pgx.Rows) error {
			err := s.answer(rows)
			rows.Close()
			if rows.Err() != nil {
				return rows.Err()
			}
			if err != nil && p.failed == nil {
				p.failed = err
			}
			p.answered = last
			return nil
		})
	}
}
