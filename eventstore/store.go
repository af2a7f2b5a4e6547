package eventstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Store appends to and reads from the logs of all workspaces.
type Store struct {
	db    *pg.DB
	bell  *Bell
	types map[string]bool // those that are accepted; nil for all
	began func(context.Context, pg.Workspace, *WentBackError) error

	mu      sync.Mutex
	seen    map[uuid.UUID]head    // where the logs ended when this process appended last, of those without a writer
	writers map[uuid.UUID]*writer // of the workspaces that are being written to
	closed  bool
	running sync.WaitGroup
}

// New makes a store on db. Appends ring bell once they are committed.
func New(db *pg.DB, bell *Bell) *Store {
	return &Store{db: db, bell: bell, writers: map[uuid.UUID]*writer{}, seen: map[uuid.UUID]head{}}
}

// OnBack has begin called when a log turns out to lack what this process knows to have been its end: begin begins another epoch of it, unless
// somebody else has. It is called before the store is used.
func (s *Store) OnBack(begin func(context.Context, pg.Workspace, *WentBackError) error) {
	s.began = begin
}

// Accept has the store refuse every event whose type is none of these. What cannot be read back would stop every reader of
// its workspace for ever. It is called before the store is used.
func (s *Store) Accept(types ...string) *Store {
	s.types = map[string]bool{}
	for _, t := range types {
		s.types[t] = true
	}
	return s
}

// Close waits until what has been taken on is stored. Later appends are refused.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	for _, w := range s.writers {
		w.wake()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// maxWaiting bounds the queue of one workspace: some seconds of work.
const maxWaiting = 10_000

// Append stores a, or nothing. It answers a MovedError when a stream was not at its expected version, a
// KeyReusedError, an UnknownTypeError, a ClockError, a BusyError, or an UnknownOutcomeError. It does not heed the end of ctx once the writer
// has taken the append, because then only the database knows what became of it.
func (s *Store) Append(ctx context.Context, w pg.Workspace, a Append) (Receipt, error) {
	if err := s.check(a); err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	r := &request{append: a, ids: a.newIDs(), done: make(chan struct{})}
	if err := s.enqueue(w, r); err != nil {
		return Receipt{}, err
	}
	<-r.done
	return r.receipt, r.err
}

func (s *Store) enqueue(w pg.Workspace, r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("the event store is closed")
	}
	wr := s.writers[w.ID]
	if wr == nil {
		wr = &writer{store: s, workspace: w, more: make(chan struct{}, 1), seen: s.seen[w.ID]}
		s.writers[w.ID] = wr
		s.running.Add(1)
		go wr.run()
	}
	if len(wr.waiting) >= maxWaiting {
		return &BusyError{Waiting: len(wr.waiting)}
	}
	wr.waiting = append(wr.waiting, r)
	wr.wake()
	return nil
}

// check refuses what a caller must never ask for.
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
	if len(a.Writes) == 0 || events == 0 && a.Key == nil {
		return fmt.Errorf("append without events")
	}
	return nil
}

// weight is about how many bytes the append takes in a transaction.
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
