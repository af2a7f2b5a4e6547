package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// errMoved says that the head row is ahead of, or behind, the writer's memory. Nothing was stored.
var errMoved = errors.New("the head row is not where this writer remembered it")

// commit judges a batch and stores the accepted requests in one transaction. Without an error every request has its answer. With an error
// no request has one.
func (w *writer) commit(ctx context.Context, batch []*request) (last int64, err error) {
	before := w.log.head()
	verdicts := w.recall(batch)
	if verdicts != nil {
		err = keep(ctx, w.together(batch), before, verdicts, w.store.proofs)
	} else {
		verdicts, err = w.look(ctx, batch)
	}
	if err != nil {
		return 0, err
	}
	if w.store.began != nil {
		w.seen = w.log.head()
	}
	for _, v := range verdicts {
		v.request.finish(v.receipt, v.err)
		last = max(last, v.receipt.Last)
	}
	return last, nil
}

// recall judges a batch by the writer's memory. The result is nil when the memory does not suffice, or when a request would be refused:
// only the log itself can refuse.
func (w *writer) recall(batch []*request) []verdict {
	if !w.log.knows(batch) {
		return nil
	}
	if verdicts := judge(w.log, lookup{}, batch); !anyRefused(verdicts) {
		return verdicts
	}
	return nil
}

// look locks the head of the log, judges a batch by the log, and stores the accepted part, in one transaction of two round trips.
func (w *writer) look(ctx context.Context, batch []*request) (verdicts []verdict, err error) {
	err = w.store.db.In(ctx, w.workspace, func(tx *pg.Tx) error {
		found, err := look(ctx, tx.Run, w.seen, w.store.proofs, batch)
		if err != nil {
			return err
		}
		w.log = found.log
		before := found.log.head()
		verdicts = judge(found.log, found, batch)
		return keep(ctx, tx.Commit, before, verdicts, nil)
	})
	return verdicts, err
}

// light is the largest batch, in bytes of events, that shares a transaction with other workspaces.
const light = 64 << 10

// together gives a Run of one round trip. A light batch shares its transaction with batches that other workspaces store at that moment.
func (w *writer) together(batch []*request) Run {
	weight := 0
	for _, r := range batch {
		weight += r.append.weight()
	}
	door := w.store.db.Together
	if weight > light {
		door = w.store.db.Do
	}
	return func(ctx context.Context, statements ...pg.Statement) error {
		return door(ctx, w.workspace, statements...)
	}
}

// keep stores the accepted requests and sets the time of their records. The error is errMoved, and nothing is stored, when the head differs
// from before, or when a proof does not hold. A nil prove means that the look has checked the proofs already.
func keep(ctx context.Context, run Run, before head, verdicts []verdict, prove *proofs) error {
	var at time.Time
	statements := store(before, verdicts, prove, &at)
	if statements == nil {
		return nil
	}
	untry := try(verdicts)
	err := run(ctx, statements...)
	if err != nil && (!pg.Lost(err) || pg.Unsent(err)) {
		untry() // Postgres refused the statement, or never got it
	}
	stamp(verdicts, at)
	if pg.Is(err, pg.AccessDenied) { // the workspace was closed while this transaction waited for the head
		return pg.NewClosedError(err)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return errMoved
	}
	return err
}

// try notes the position at which each request will be stored, because a request that was sent may be stored even when its answer is lost.
// The returned function undoes the notes.
func try(verdicts []verdict) (untry func()) {
	before := make([]int64, len(verdicts))
	for i, v := range verdicts {
		before[i] = v.request.tried
		if len(v.fresh) > 0 {
			v.request.tried = v.receipt.First
		}
	}
	return func() {
		for i, v := range verdicts {
			v.request.tried = before[i]
		}
	}
}

// stamp sets the time of the stored records to the database's time.
func stamp(verdicts []verdict, at time.Time) {
	for _, v := range verdicts {
		for i := range v.fresh {
			v.fresh[i].At = at.UTC()
		}
	}
}

// verdict is the answer to a request, once the transaction is committed.
type verdict struct {
	request *request
	receipt Receipt
	fresh   []Record // the records to store now; nil when the request was refused or stored before
	err     error
}

// judge decides on each request, in order. A refused request has no effect on the others.
func judge(log *state, found lookup, batch []*request) []verdict {
	verdicts := make([]verdict, len(batch))
	for i, r := range batch {
		v := verdict{request: r}
		if receipt, known, err := found.known(r); known {
			v.receipt, v.err = receipt, err
		} else if !found.proves(r, log.epoch) {
			v.err = &UnprovenError{}
		} else if records, err := log.accept(r); err != nil {
			v.err = err
		} else {
			v.receipt, v.fresh = Receipt{First: log.position - int64(len(records)) + 1, Last: log.position, Records: records}, records
			found.remember(r, v.receipt)
		}
		verdicts[i] = v
	}
	return verdicts
}

func anyRefused(verdicts []verdict) bool {
	return slices.ContainsFunc(verdicts, func(v verdict) bool { return v.err != nil })
}

// Run runs statements in a transaction that is in the role of a workspace.
type Run func(ctx context.Context, statements ...pg.Statement) error

// AppendIn stores a in the caller's transaction, so that the append and the caller's other writes commit together. The head row stays
// locked until the commit, so the caller commits soon. After the commit the caller calls Appended.
func (s *Store) AppendIn(ctx context.Context, run Run, w pg.Workspace, a Append) (Receipt, error) {
	if err := s.check(a); err != nil {
		return Receipt{}, err
	}
	batch := []*request{{append: a, ids: a.newIDs()}}
	found, err := look(ctx, run, head{}, s.proofs, batch)
	if err != nil {
		return Receipt{}, err
	}
	before := found.log.head()
	verdicts := judge(found.log, found, batch)
	if err := verdicts[0].err; err != nil {
		return Receipt{}, err
	}
	if err := keep(ctx, run, before, verdicts, nil); err != nil {
		return Receipt{}, fmt.Errorf("append: %w", err)
	}
	return verdicts[0].receipt, nil
}

// Appended counts the events that AppendIn stored, and rings the bell.
func (s *Store) Appended(w pg.Workspace, r Receipt) {
	telemetry.Appended.Add(float64(len(r.Records)))
	s.bell.Ring(w, r.Last)
}
