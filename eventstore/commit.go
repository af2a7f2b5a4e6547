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

// errMoved says that the head row is ahead of, or behind, what this writer remembers. Nothing was stored.
var errMoved = errors.New("the head row is not where this writer remembered it")

// commit judges a batch and stores the accepted part of it, in one transaction. Without an error every request has its answer; with an
// error none has.
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

// recall judges a batch by what the writer remembers. It gives nothing when memory does not suffice; a refusal must come from the log
// itself.
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

// together stores in one round trip. A light batch shares the transaction with what other workspaces store at the same moment.
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

// keep stores what was accepted, and gives it its time. The error is errMoved, and nothing is stored, when the head is not where before
// says, or when a claim that the verdicts have yet to prove does not hold. With proofs of nil, the claims were proven by the look.
func keep(ctx context.Context, run Run, before head, verdicts []verdict, prove *proofs) error {
	var at time.Time
	statements := store(before, verdicts, prove, &at)
	if statements == nil {
		return nil
	}
	untry := try(verdicts)
	err := run(ctx, statements...)
	if err != nil && (!pg.Lost(err) || pg.Unsent(err)) {
		untry() // Postgres said no, or was not asked
	}
	stamp(verdicts, at)
	if pg.Is(err, pg.AccessDenied) { // the workspace was closed for good while this waited for the head
		return pg.Shut(err)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return errMoved
	}
	return err
}

// try notes where each request would be stored: once it is sent it may be stored there, whatever the answer. It gives the function that
// takes the notes back.
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

// stamp gives the stored records the time that the database gave them.
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
	fresh   []Record // to be stored now, the receipt's; nil when refused or stored before
	err     error
}

// judge decides on each request, in order. A refused request never spoils its neighbours.
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

// AppendIn stores a in a transaction that does something else as well: both happen, or neither. The head row is locked from here on, so
// little should follow. After the commit the caller calls Appended.
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

// Appended counts what AppendIn stored, and rings for it.
func (s *Store) Appended(w pg.Workspace, r Receipt) {
	telemetry.Appended.Add(float64(len(r.Records)))
	s.bell.Ring(w, r.Last)
}
