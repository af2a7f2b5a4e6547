package eventstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Store appends to and reads from the logs of all workspaces.
type Store struct {
	db     *pg.DB
	bell   *Bell
	types  map[string]bool // the accepted types; nil for all
	proofs *proofs         // nil: no append has a Proof
	began  func(context.Context, pg.Workspace, *WentBackError) error

	mu      sync.Mutex
	seen    map[uuid.UUID]head    // the heads after this process's last appends, of workspaces without a writer
	writers map[uuid.UUID]*writer // of the workspaces with appends under way
	closed  bool
	running sync.WaitGroup // accepted appends
}

// New makes a store on db. Each append rings bell after its commit.
func New(db *pg.DB, bell *Bell) *Store {
	return &Store{db: db, bell: bell, writers: map[uuid.UUID]*writer{}, seen: map[uuid.UUID]head{}}
}

// OnBack sets begin, which is called when a log lacks the event that was its last one when this process appended. begin begins another epoch
// of the log, unless another process has done so. Call OnBack before the store is used.
func (s *Store) OnBack(begin func(context.Context, pg.Workspace, *WentBackError) error) {
	s.began = begin
}

// Accept makes the store refuse events of any other type, because an event that cannot be decoded would stop all readers of its workspace.
// Call Accept before the store is used.
func (s *Store) Accept(types ...string) *Store {
	s.types = map[string]bool{}
	for _, t := range types {
		s.types[t] = true
	}
	return s
}

// Close refuses further appends, and waits until every accepted one is answered.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}

// maxWaiting bounds the queue of one workspace: some seconds of work.
const maxWaiting = 10_000

// Append stores a, or nothing. The error is a MovedError when a stream was not at its expected version, a KeyReusedError, an
// UnknownTypeError, a ClockError, a BusyError, or an UnknownOutcomeError. Once the writer has accepted the append, the end of ctx does not
// stop it, because the append may be stored by then.
func (s *Store) Append(ctx context.Context, w pg.Workspace, a Append) (Receipt, error) {
	if err := s.check(a); err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	r := &request{append: a, ids: a.newIDs(), turn: make(chan turn, 1), workspace: w.ID}
	r.traced(ctx)
	defer r.span.End()
	wr, first, err := s.enqueue(w, r)
	if err != nil {
		return Receipt{}, err
	}
	defer s.running.Done()
	if first {
		wr.lead()
	} else if <-r.turn == answered {
		return r.receipt, r.err
	} else {
		runtime.Gosched() // the callers whom the last leader answered may append again: let their appends join this batch
		wr.lead()
	}
	<-r.turn // the batch of the last leader had this request, too
	return r.receipt, r.err
}

// enqueue gives a request to the writer of its workspace, and tells whether the request leads.
func (s *Store) enqueue(w pg.Workspace, r *request) (wr *writer, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, fmt.Errorf("the event store is closed")
	}
	wr = s.writers[w.ID]
	if wr == nil {
		wr = &writer{store: s, workspace: w, seen: s.seen[w.ID]}
		wr.idle = time.AfterFunc(linger, wr.leave)
		s.writers[w.ID] = wr
	}
	if len(wr.waiting) >= maxWaiting {
		return nil, false, &BusyError{Waiting: len(wr.waiting)}
	}
	s.running.Add(1)
	wr.waiting = append(wr.waiting, r)
	first = !wr.led
	wr.led = true
	return wr, first, nil
}

// check refuses an append that is malformed.
func (s *Store) check(a Append) error {
	seen := map[string]bool{}
	events := 0
	for _, w := range a.Writes {
		if w.Stream == "" || seen[w.Stream] || w.Expected < Any || len(w.Events) == 0 && (a.Key == nil || len(a.Writes) > 1) {
			return fmt.Errorf("append to stream %q, expected version %d, %d events: each stream once, with events", w.Stream, w.Expected, len(w.Events))
		}
		seen[w.Stream] = true
		events += len(w.Events)
		for _, e := range w.Events {
			if s.types != nil && !s.types[e.Type] {
				return &UnknownTypeError{Type: e.Type}
			}
		}
	}
	if a.Proof != nil && s.proofs == nil {
		return errors.New("append with a proof: call Store.Prove before the store is used")
	}
	if len(a.Writes) == 0 || events == 0 && a.Key == nil {
		return fmt.Errorf("append without events")
	}
	return nil
}

// weight estimates the bytes of the append in a transaction.
func (a Append) weight() (bytes int) {
	for _, w := range a.Writes {
		for _, e := range w.Events {
			bytes += len(e.Data) + len(a.Meta)
		}
	}
	return bytes
}

func (a Append) newIDs() []uuid.UUID {
	var ids []uuid.UUID
	for _, w := range a.Writes {
		for range w.Events {
			ids = append(ids, uuid.Must(uuid.NewV7()))
		}
	}
	return ids
}
