package eventstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

const (
	maxBatch   = 512              // commands in one transaction
	maxWeight  = 8 << 20          // bytes of events in one transaction
	linger     = 5 * time.Second  // how long an unused writer is kept
	patience   = 20 * time.Second // for one transaction, and for finding the outcome of a lost one
	retryPause = 50 * time.Millisecond
)

// request is an append under way. Its owner changes:
//
//  1. Append owns the request until it is in the queue.
//  2. The leader of the writer owns it until it is answered.
//  3. Append owns it again.
type request struct {
	append  Append
	ids     []uuid.UUID // of the events, in order
	tried   int64       // the position at which its first event was sent; 0 when it was never sent
	receipt Receipt
	err     error
	turn    chan turn // holds one element

	workspace uuid.UUID
	span      *telemetry.Span // nil when no spans are collected
	begun     time.Time       // only with a span
}

// traced begins the span of an append, from its place in the queue to its answer.
func (r *request) traced(ctx context.Context) {
	if _, r.span = telemetry.Begin(ctx, "append"); r.span.On() {
		r.begun = time.Now()
	}
}

// taken notes in the span that the append is in a batch of this size now.
func (r *request) taken(batch int) {
	if r.span.On() {
		r.span.Int("kluis.batch", int64(batch))
		r.span.Seconds("kluis.wait_seconds", time.Since(r.begun))
	}
}

// turn says what a waiting Append does next.
type turn bool

const (
	lead     turn = true
	answered turn = false
)

// first tells whether the append is its caller's first use of the database and was not sent yet. Its outcome is known then, so it waits for a
// connection no longer than a look does.
func (r *request) first() bool { return r.append.Proof != nil && r.tried == 0 }

func (r *request) finish(receipt Receipt, err error) {
	if err == nil && !receipt.Repeated {
		telemetry.Appended.Add(float64(len(receipt.Records)))
	}
	r.receipt, r.err = receipt, err
	if r.span.On() {
		r.outcome()
	}
	r.turn <- answered
}

// outcome notes the outcome in the span, before any reader sees the events.
func (r *request) outcome() {
	switch {
	case r.err == nil && len(r.receipt.Records) > 0:
		r.span.Stored(r.workspace, r.receipt.First, r.receipt.Last)
	case errors.As(r.err, new(*MovedError)):
		r.span.Int("kluis.conflicts", 1)
	case r.err != nil:
		r.span.Failed()
	}
}

// writer appends to one workspace and exists as long as appends come. Each process has its own writers. The database keeps the appends of all
// writers in order; a writer batches those of its process.
//
//  1. The first Append leads: it stores all waiting appends, its own among them.
//  2. Appends that come meanwhile wait.
//  3. When the leader has answered its batch, the first waiting Append leads.
//
// So there is no goroutine between an Append and the database.
type writer struct {
	store     *Store
	workspace pg.Workspace
	led       bool        // guarded by store.mu, as is waiting
	waiting   []*request  // the first one leads when led is false
	idle      *time.Timer // ends the writer
	log       *state      // the memory of the log, owned by the leader; nil when the leader must look
	seen      head        // the head after this process's last append; zero when OnBack was not called
}

// lead stores the waiting appends, and passes the lead on when more have come.
func (w *writer) lead() {
	batch := w.take()
	telemetry.BatchAppends.Observe(float64(len(batch)))
	w.store.bell.Ring(w.workspace, w.write(batch))
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.led = len(w.waiting) > 0; w.led {
		w.waiting[0].turn <- lead
	} else {
		w.idle.Reset(linger)
	}
}

// take removes a batch from the queue. The leader's own append is the first.
func (w *writer) take() []*request {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	n := batchSize(w.waiting)
	batch := w.waiting[:n:n]
	w.waiting = w.waiting[n:]
	for _, r := range batch {
		r.taken(n)
	}
	return batch
}

// leave ends an unused writer after linger.
func (w *writer) leave() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if !w.led {
		delete(w.store.writers, w.workspace.ID)
		w.store.seen[w.workspace.ID] = w.seen
	}
}

// batchSize gives how many of the waiting appends go into one batch: at least one, within maxBatch and maxWeight.
func batchSize(waiting []*request) (n int) {
	bytes := 0
	for n < min(len(waiting), maxBatch) {
		if bytes += waiting[n].append.weight(); n > 0 && bytes > maxWeight {
			break
		}
		n++
	}
	return n
}

// write stores a batch and answers every request in it. It gives the last position that was stored, 0 for none.
//
//  1. The writer trusts its memory of the log, and sends everything in one round trip. Nothing is stored when the memory is wrong, because
//     another process has appended or the log went back.
//  2. In that case the writer locks the head row, reads the streams and keys of the batch, and judges the batch again.
//
// A panic is the error of the whole batch, which has no answer then: the other appends of the workspace do not wait for a leader that is gone.
func (w *writer) write(batch []*request) (last int64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := panics.Caught(func() error { last = w.writeWithin(ctx, batch); return nil })()
	if err != nil {
		w.log = nil
		return w.answer(batch, func(r *request) error {
			if r.tried == 0 {
				return err
			}
			return outcome(r, err)
		})
	}
	return last
}

func (w *writer) writeWithin(ctx context.Context, batch []*request) int64 {
	for {
		known := w.log != nil
		last, err := w.commit(ctx, batch)
		if err == nil {
			return last
		}
		w.log = nil // the memory may be wrong: look next time
		outage, out := pg.OutageOf(err)
		if back, is := errors.AsType[*WentBackError](err); is {
			failed := w.wentBack(ctx, back)
			if failed == nil {
				return w.answer(batch, moved)
			}
			err = errors.Join(err, failed)
		}
		switch {
		case errors.Is(err, errMoved), known && pg.Is(err, pg.UniqueViolation):
		case errors.As(err, new(*ClockError)):
			return w.answer(batch, func(*request) error { return err })
		case outage == pg.ReadOnlyNow, outage == pg.Full, outage == pg.Closed, ctx.Err() != nil:
			return w.answer(batch, func(r *request) error { return outcome(r, err) })
		case !out && !pg.Lost(err):
			return w.refuse(batch, err)
		case pg.Unsent(err) && slices.ContainsFunc(batch, (*request).first):
			return w.answer(batch, func(r *request) error { return outcome(r, err) })
		default: // the connection broke, the server stopped, or another transaction holds the head row: look for the outcome as soon as possible
			time.Sleep(retryPause)
		}
	}
}

// wentBack begins another epoch of the log, so that no reader takes new events for the lost ones at the same positions. Nothing is appended
// before the epoch has begun, and the waiting commands decide again afterwards.
func (w *writer) wentBack(ctx context.Context, lost *WentBackError) error {
	err := w.store.began(ctx, w.workspace, lost)
	if err == nil {
		w.seen = head{}
	}
	return err
}

// moved gives the error of a request whose streams may all have changed.
func moved(r *request) error {
	w := r.append.Writes[0]
	return &MovedError{Stream: w.Stream, Expected: w.Expected}
}

// answer gives every request of a batch an error.
func (w *writer) answer(batch []*request, err func(*request) error) int64 {
	for _, r := range batch {
		r.finish(Receipt{}, err(r))
	}
	return 0
}

// refuse stores the requests of a refused batch one by one, so that only the request that Postgres refuses gets the error.
func (w *writer) refuse(batch []*request, err error) (last int64) {
	if len(batch) == 1 {
		batch[0].finish(Receipt{}, err)
		return 0
	}
	for _, r := range batch {
		last = max(last, w.write([]*request{r}))
	}
	return last
}

// outcome gives the error of a request when the time has run out with err. tried is not set for a request with a key and no events, so such
// a request may have been sent.
func outcome(r *request, err error) error {
	if r.tried == 0 && len(r.ids) > 0 {
		return &BusyError{Cause: err} // the request was never sent
	}
	return &UnknownOutcomeError{Cause: err}
}
