package jobs

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// Each witness has a loop of its own, which gives it kept checkpoints one at a time. So a witness that hangs holds up nothing but itself.
// Only the newest checkpoint of a workspace waits.
const (
	witnessBack  = 10 * time.Minute // the longest pause of a witness that does not answer
	refusalBack  = time.Hour        // the longest pause of a log that a witness refuses
	firstWitness = time.Second      // the first pause of both; each further one is twice as long
)

// toCosign is a checkpoint that waits for a witness.
type toCosign struct {
	signed   []byte
	at       checkpoint.Checkpoint
	due      time.Time
	failures int // in a row, of this log
}

// witnesses are the checkpoints that wait for the witnesses of a process.
type witnesses struct {
	mu     sync.Mutex
	loops  []*witnessLoop
	wanted int
	missed map[pg.Workspace]int // how many witnesses have not cosigned the newest checkpoint yet
}

type witnessLoop struct {
	of       *witnesses
	by       *checkpoint.Witness
	wake     chan struct{} // has an element when a checkpoint was added
	waiting  map[pg.Workspace]toCosign
	wentBack map[pg.Workspace]bool // the witness has cosigned another log of the workspace
	failures int                   // in a row, of the witness
	pause    time.Time             // until when it is left alone
}

func newWitnesses(all []*checkpoint.Witness, wanted int) *witnesses {
	w := &witnesses{wanted: wanted, missed: map[pg.Workspace]int{}}
	for _, by := range all {
		w.loops = append(w.loops, &witnessLoop{of: w, by: by, wake: make(chan struct{}, 1), waiting: map[pg.Workspace]toCosign{}, wentBack: map[pg.Workspace]bool{}})
	}
	telemetry.WitnessesWanted.Set(float64(wanted))
	return w
}

// add gives a checkpoint to all witnesses. A log that a witness has refused keeps its pause.
func (w *witnesses) add(in pg.Workspace, signed []byte, at checkpoint.Checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.loops {
		before := l.waiting[in]
		l.put(in, toCosign{signed, at, before.due, before.failures})
	}
}

// put has a checkpoint wait. The caller holds the lock.
func (l *witnessLoop) put(in pg.Workspace, c toCosign) {
	if _, waits := l.waiting[in]; !waits {
		l.of.miss(in, 1)
		telemetry.WitnessWaiting.WithLabelValues(l.by.Name()).Inc()
	}
	l.waiting[in] = c
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// drop removes the checkpoint of a workspace. The caller holds the lock.
func (l *witnessLoop) drop(in pg.Workspace) {
	if _, waits := l.waiting[in]; waits {
		delete(l.waiting, in)
		l.of.miss(in, -1)
		telemetry.WitnessWaiting.WithLabelValues(l.by.Name()).Dec()
	}
}

// miss adds n to how many witnesses have not cosigned a workspace. The caller holds the lock.
func (w *witnesses) miss(in pg.Workspace, n int) {
	few := func() bool { return len(w.loops)-w.missed[in] < w.wanted }
	before := few()
	if w.missed[in] += n; w.missed[in] == 0 {
		delete(w.missed, in)
	}
	if after := few(); after != before {
		telemetry.CosignedByFew.Add(float64(n))
	}
}

// knowOtherwise notes whether the witness has cosigned another log than there is. The caller holds the lock.
func (l *witnessLoop) knowOtherwise(in pg.Workspace, otherwise bool) {
	if l.wentBack[in] == otherwise {
		return
	}
	if otherwise {
		l.wentBack[in] = true
		telemetry.WitnessWentBack.WithLabelValues(l.by.Name()).Inc()
	} else {
		delete(l.wentBack, in)
		telemetry.WitnessWentBack.WithLabelValues(l.by.Name()).Dec()
	}
}

// next returns the checkpoint that is due first, and how long it has to wait still.
func (l *witnessLoop) next(now time.Time) (in pg.Workspace, c toCosign, wait time.Duration) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	wait = time.Hour
	for workspace, waits := range l.waiting {
		if until := waits.due.Sub(now); until < wait {
			in, c, wait = workspace, waits, until
		}
	}
	return in, c, max(wait, l.pause.Sub(now))
}

// runWitnesses gives checkpoints to the witnesses until ctx ends.
func (j *Jobs) runWitnesses(ctx context.Context) error {
	var running sync.WaitGroup
	for _, l := range j.witnesses.loops {
		running.Go(func() {
			for {
				in, c, wait := l.next(time.Now())
				if wait <= 0 {
					err := panics.Caught(func() error { return j.Commands.Cosign(ctx, in, l.by, c.signed, c.at) })()
					j.sayOf(ctx, in, err)
					l.told(in, c, err, isTemporary(ctx, err))
				}
				select {
				case <-time.After(wait):
				case <-l.wake:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	running.Wait()
	return nil
}

// sayOf logs why a checkpoint of a workspace is not cosigned.
func (j *Jobs) sayOf(ctx context.Context, in pg.Workspace, err error) {
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, new(*checkpoint.WentBackError)):
		j.Log.ErrorContext(ctx, "a witness has cosigned another log than there is: a backup was restored, or somebody has changed the log; docs/auditing.md says what to do",
			"workspace", in.ID, "error", err.Error())
	default:
		j.Log.WarnContext(ctx, "a checkpoint is not cosigned", "workspace", in.ID, "error", err.Error())
	}
}

// told decides by the answer of a witness: the checkpoint is done, this log waits, or all logs wait for this witness. ourselves tells
// that the error is this program's, and passes with time.
func (l *witnessLoop) told(in pg.Workspace, c toCosign, err error, ourselves bool) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	newest := l.waiting[in] // another one may have come meanwhile
	wentBack := errors.As(err, new(*checkpoint.WentBackError))
	silent, refused := answerOf(err)
	if err == nil {
		telemetry.Cosigned.WithLabelValues(l.by.Name()).Inc()
	} else {
		telemetry.WitnessFailures.WithLabelValues(l.by.Name()).Inc()
	}
	if silent {
		l.failures++
		l.pause = time.Now().Add(doubled(l.failures, witnessBack))
		newest.due = time.Now() // behind those that were not tried yet, because the witness may fail at this very log
		l.put(in, newest)
		return
	}
	l.failures = 0
	l.knowOtherwise(in, wentBack)
	switch {
	case err == nil && newest.at != c.at:
		l.put(in, toCosign{signed: newest.signed, at: newest.at})
	case wentBack || refused || ourselves:
		newest.failures++
		newest.due = time.Now().Add(doubled(newest.failures, refusalBack))
		l.put(in, newest)
	default: // it is done, or nothing can be done until the log goes on
		l.drop(in)
	}
}

// answerOf tells of an error whether the witness is silent, which includes that it has too much to do, and whether it refuses this log.
func answerOf(err error) (silent, refused bool) {
	var is *checkpoint.RefusedError
	switch {
	case errors.As(err, new(*checkpoint.SilentError)):
		return true, false
	case errors.As(err, &is):
		silent = is.Status >= http.StatusInternalServerError || is.Status == http.StatusTooManyRequests
		return silent, !silent
	}
	return false, false
}

func doubled(failures int, longest time.Duration) time.Duration {
	return min(firstWitness<<min(failures-1, 20), longest)
}
