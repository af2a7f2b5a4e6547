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

// joint stores in one transaction what several workspaces of a lane want to be stored at the same moment: for as many of them it
// is one commit on the disk, and one round trip.
//
//  1. The first caller leads. It sends all parts that wait, its own among them, in the order of the workspaces' ids: so
//     two processes that want the same rows never wait for each other in a circle.
//  2. In that transaction each part takes the role of its workspace before its own statements, so it sees and changes
//     what it would alone.
//  3. Those that come meanwhile wait. When the leader has its answers, one of them leads.
//  4. A part that Postgres refuses, or whose row somebody holds for longer than a moment, undoes the whole transaction. That part
//     is done alone by its caller, who gets its error; the others go together once more.
//  5. When the connection is lost nobody knows whether the transaction was committed, and each caller is told so.
type joint struct {
	mu      sync.Mutex
	led     bool
	waiting []*writer
}

// writer is a caller that wants its part to be stored.
type writer struct {
	part
	alone func() error // does it in a transaction of its own
	other func() bool  // tells whether the database became another one since the gate was passed
	turn  chan outcome // holds one element
}

// part is what one workspace has in a transaction of several.
type part struct {
	tx         *Tx
	statements []Statement
	answered   bool  // by Postgres, all of it
	failed     error // to read an answer of it: nothing that undoes anything
}

// outcome says what a writer does next: lead, do its part alone, or return err.
type outcome struct {
	lead, alone bool
	err         error
}

const (
	mostParts  = 64                     // in one transaction
	moment     = 100 * time.Millisecond // for a lock, as in enterBriefly
	jointLimit = 10 * time.Second       // for all of it
)

// Together is Do, in one transaction with what other workspaces want at the same moment. It is for a few short statements that
// know which rows they lock. Through a pooler it is Do.
func (db *DB) Together(ctx context.Context, w Workspace, statements ...Statement) error {
	if db.pooler || db.owned { // through a pooler the text is described in each transaction anew
		return db.Do(ctx, w, statements...)
	}
	p, incarnation := &writer{part: db.part(w, pgx.TxOptions{}, statements), turn: make(chan outcome, 1)}, db.Incarnation()
	p.alone = func() error { return db.Do(ctx, w, statements...) }
	p.other = func() bool { return db.Incarnation() != incarnation }
	if db.gate != nil { // which is asked about errors when the part is alone
		if err := db.gate(ctx, w, nil); err != nil {
			return err
		}
	}
	return db.lane(w).together(ctx, p)
}

// part is one of a transaction with such options.
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
		runtime.Gosched() // those whom the last transaction answered may have more: let them come along
	}
}

// lead does what is waiting, and has another lead when more has come.
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
	waits := time.AfterFunc(moment, next) // for a row that somebody holds: the others do not
	writers[0].turn <- outcome{err: writers[0].alone()}
	waits.Stop()
	next()
}

// next has one of those lead who wait, or are to go once more.
func (l *lane) next(again []*writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(again, l.waiting...)
	if l.led = len(l.waiting) > 0; l.led {
		l.waiting[0].turn <- outcome{lead: true}
	}
}

// send answers those whose parts it sent, but those that are to go once more.
func (l *lane) send(ctx context.Context, writers []*writer) (again []*writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointLimit)
	defer cancel()
	slices.SortFunc(writers, func(a, b *writer) int { return slices.Compare(a.tx.of[:], b.tx.of[:]) })
	blamed := -1
	conn, giveBack, err := l.sit(ctx, forWrites)
	if err == nil {
		defer giveBack() // when all have their answers: it may take a while
		if writers = sameDatabase(writers); len(writers) == 0 {
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

// sameDatabase has those do their part alone, and pass the gate again, that passed it in another incarnation of the database.
func sameDatabase(writers []*writer) []*writer {
	return slices.DeleteFunc(writers, func(w *writer) bool {
		other := w.other()
		if other {
			w.turn <- outcome{alone: true}
		}
		return other
	})
}

func partsOf(writers []*writer) (parts []*part) {
	for _, w := range writers {
		parts = append(parts, &w.part)
	}
	return parts
}

// sendAll sends parts in one transaction. On an error of Postgres' it tells which part is to blame; -1 when it was the commit.
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

// leave makes a transaction the login's again, which alone may take the role of another workspace.
const leave = `set local role none`

// ready prepares in a joint transaction what the connection does not know of a workspace's statements. It sends the batch first, and
// gives one to go on with.
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
	batch.Queue(leave)
	return batch, tx.prepare(ctx, statements)
}

// queue queues the part. That an answer has no row is the part's own affair: the others are stored, and so is what it said before.
func (p *part) queue(batch *pgx.Batch) {
	entered := false
	p.tx.queueEnter(batch, &entered)
	first := len(batch.QueuedQueries)
	p.tx.queue(batch, p.statements)
	defer batch.Queue(leave)
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
