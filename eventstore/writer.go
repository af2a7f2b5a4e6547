package eventstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

const (
	maxBatch   = 512              // commands in one transaction
	maxWeight  = 8 << 20          // bytes of events in one transaction
	linger     = 5 * time.Second  // how long a writer is kept that nobody needs
	patience   = 20 * time.Second // for one transaction, and for finding out what became of a lost one
	retryPause = 50 * time.Millisecond
)

// request is an append under way. Until it is queued, Append owns it; then the leader of the writer does; once it is answered, Append does
// again.
type request struct {
	append  Append
	ids     []uuid.UUID // of the events, in order
	tried   int64       // the position that its first event was sent with, 0 if it never was
	receipt Receipt
	err     error
	turn    chan turn // holds one element

	workspace uuid.UUID
	span      *telemetry.Span // nil when nobody collects spans
	begun     time.Time       // only with a span
}

// traced begins the span of an append, from its place in the queue to its answer.
func (r *request) traced(ctx context.Context) {
	if _, r.span = telemetry.Begin(ctx, "append"); r.span.On() {
		r.begun = time.Now()
	}
}

// taken tells the span that the append is being stored now, in a batch of this size.
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

// first tells whether the append is the first thing that its caller wants of the database, and was not sent yet. Its outcome is known then,
// so it waits for a connection no longer than a look does.
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

// outcome tells the span how the append ended, before anybody else sees its events.
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

// writer appends to one workspace, for as long as somebody appends. Each process has its own writers: the database keeps them in order, and
// a writer makes one process fast.
//
//  1. The first Append that comes leads: it stores every append that waits, its own among them.
//  2. Appends that come meanwhile wait.
//  3. When the leader has answered what it stored, the first one that waits leads.
//
// So there is no goroutine between an Append and the database.
type writer struct {
	store     *Store
	workspace pg.Workspace
	led       bool        // guarded by store.mu, as is waiting
	waiting   []*request  // the first is to lead when nobody does
	idle      *time.Timer // ends the writer
	log       *state      // the leader's: what this writer knows of the log; nil when it has to look
	seen      head        // where the log ended when this process appended last; nothing where nobody wants to know
}

// lead stores what waits, and passes the lead on when more has come.
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

// take removes what waits from the queue. The leader's own append is the first.
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

// leave ends the writer when nobody needs it any more.
func (w *writer) leave() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if !w.led {
		delete(w.store.writers, w.workspace.ID)
		w.store.seen[w.workspace.ID] = w.seen
	}
}

// batchSize is how many of the waiting appends go into one batch: at least one, and no more than the limits of number and weight allow.
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
//  1. The writer trusts what it remembers of the log, and sends everything in one round trip. Nothing is stored when the log is
//     another, because somebody has appended meanwhile or the log went back.
//  2. In that case the writer locks the head row, reads what the batch relies on, and judges it again.
func (w *writer) write(batch []*request) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return w.writeWithin(ctx, batch)
}

func (w *writer) writeWithin(ctx context.Context, batch []*request) int64 {
	for {
		known := w.log != nil
		last, err := w.commit(ctx, batch)
		if err == nil {
			return last
		}
		w.log = nil // whatever it was: look
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
		default: // the connection broke, the server stopped, or somebody holds the head row: look, as soon as that is possible, what became of it
			time.Sleep(retryPause)
		}
	}
}

// wentBack begins another epoch of the log, so that nobody takes new events for the lost ones at the same positions. Nothing is appended
// before the epoch has begun, and the commands that wait decide again afterwards.
func (w *writer) wentBack(ctx context.Context, lost *WentBackError) error {
	err := w.store.began(ctx, w.workspace, lost)
	if err == nil {
		w.seen = head{}
	}
	return err
}

// moved is the error of a request for which everything that it relied on may have changed.
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

// outcome is the answer to a request when the time has run out with err. For a request that has a key and no events, tried does not tell
// whether it was sent: it may have been.
func outcome(r *request, err error) error {
	if r.tried == 0 && len(r.ids) > 0 {
		return &BusyError{Cause: err} // it never was
	}
	return &UnknownOutcomeError{Cause: err}
}
