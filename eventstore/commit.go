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

// errMoved says that the head row is not where this writer remembered it, ahead or behind: nothing was stored.
var errMoved = errors.New("the head row is not where this writer remembered it")

// commit judges a batch and stores what it accepts, in one transaction: one round trip when the writer
// knows the log, else two. On nil every request has its answer; on an error none has.
func (w *writer) commit(ctx context.Context, batch []*request) (last int64, err error) {
	var verdicts []verdict
	err = w.store.db.In(ctx, w.workspace, func(tx *pg.Tx) error {
		var found lookup
		before := w.log.head()
		if known := w.log.knows(batch); known {
			verdicts = judge(w.log, found, batch)
		}
		if verdicts == nil || anyRefused(verdicts) { // a refusal must be of what is, not of what this writer remembers
			if found, err = look(ctx, tx.Run, batch); err != nil {
				return err
			}
			w.log, before = found.log, found.log.head()
			verdicts = judge(w.log, found, batch)
		}
		var at time.Time
		statements := store(before, verdicts, &at)
		if statements == nil {
			return nil // nothing accepted: the empty transaction ends
		}
		untry := try(verdicts)
		err := tx.Commit(ctx, statements...)
		if err != nil && !pg.Lost(err) {
			untry() // Postgres said no
		}
		stamp(verdicts, at)
		return moved(err)
	})
	if err != nil {
		return 0, err
	}
	for _, v := range verdicts {
		v.request.finish(v.receipt, v.err)
		last = max(last, v.receipt.Last)
	}
	return last, nil
}

// try notes where each request would be stored: once it is sent it may be, whatever the answer. It gives the way back.
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

// moved says of the statement that stores events that it found no head row as remembered, and so did nothing.
func moved(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errMoved
	}
	return err
}

// stamp gives what was stored the time that the database gave it.
func stamp(verdicts []verdict, at time.Time) {
	for _, v := range verdicts {
		for i := range v.fresh {
			v.fresh[i].At = at.UTC()
		}
	}
}

// verdict is what a request will be answered once the transaction is committed.
type verdict struct {
	request *request
	receipt Receipt
	fresh   []Record // to be stored now, the receipt's; nil when refused or stored before
	err     error
}

// judge decides on each request in order. A refused one never spoils its neighbours.
func judge(log *state, found lookup, batch []*request) []verdict {
	verdicts := make([]verdict, len(batch))
	for i, r := range batch {
		v := verdict{request: r}
		if receipt, known, err := found.known(r); known {
			v.receipt, v.err = receipt, err
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

// AppendIn stores a in a transaction that does something else as well: both happen, or neither. The head row is locked from
// here on, so little should follow. Once it is committed, the caller says so with Appended.
func (s *Store) AppendIn(ctx context.Context, run Run, w pg.Workspace, a Append) (Receipt, error) {
	if err := s.check(a); err != nil {
		return Receipt{}, err
	}
	batch := []*request{{append: a, ids: a.newIDs()}}
	found, err := look(ctx, run, batch)
	if err != nil {
		return Receipt{}, err
	}
	before := found.log.head()
	verdicts := judge(found.log, found, batch)
	if err := verdicts[0].err; err != nil {
		return Receipt{}, err
	}
	var at time.Time
	if err := run(ctx, store(before, verdicts, &at)...); err != nil {
		return Receipt{}, fmt.Errorf("append: %w", moved(err))
	}
	stamp(verdicts, at)
	return verdicts[0].receipt, nil
}

// Appended counts what AppendIn stored, and rings for it.
func (s *Store) Appended(w pg.Workspace, r Receipt) {
	telemetry.Appended.Add(float64(len(r.Records)))
	s.bell.Ring(w, r.Last)
}
