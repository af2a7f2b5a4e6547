package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/projections"
)

// Delivery to one receiver happens under a lease, which only one process has:
//
//  1. The cursor in the workspace's schema gets a new holder. From now on a process that has lost the lease cannot move it.
//  2. A page of events behind the cursor is read, and sent in order. When the process is killed here, the cursor stays, and the next process sends
//     the same events again, under the same ids. So each event is sent at least once, and none before all earlier ones were taken.
//  3. The cursor is moved, in the round trip that reads the next page.
//  4. After a failure the receiver is left alone for a pause, which grows. When it has failed for too long, or answers 410, it is stopped.
//  5. When there is nothing more, the process waits a little for the next event, and then gives the lease back.

const (
	pageEvents = 500
	pageBytes  = 256 << 10
	renewAfter = 5 * time.Second  // the age at which a lease is renewed
	lingerFor  = 10 * time.Second // how long a delivery waits for the next event
	lastBreath = 2 * time.Second  // how long a request may go on when the process ends
	backOff    = 5 * time.Second  // after the first failure
	maxBackOff = time.Hour

	ourBackOff     = 5 * time.Second // when the failure is not the receiver's
	refusedBackOff = time.Minute     // when the workspace is on hold, or needs a newer program
)

// errLost says that another process has the receiver.
var errLost = errors.New("the lease is lost")

// delivering is a delivery under way.
type delivering struct {
	*Jobs
	due    eventstore.Due
	cursor projections.Cursor

	receiver domain.Receiver // for which the sender was made
	types    []string
	sender   delivery.Sender
	position int64 // of the cursor, as this process knows it
	failures int
	renewed  time.Time

	signsUntil *time.Time // when the sender no longer signs with two secrets; nil: it signs with one
}

// deliver delivers to a receiver that is due. When ctx ends, it takes no further page; when sending ends, it breaks off the request.
func (j *Jobs) deliver(ctx, sending context.Context, due eventstore.Due) {
	d := &delivering{Jobs: j, due: due, cursor: projections.Cursor{Receiver: due.Receiver, Holder: due.Lease}, failures: due.Failures, renewed: time.Now()}
	defer d.close()
	err := panics.Caught(func() error { return d.run(ctx, sending) })()
	var failed *sendError
	switch {
	case err == nil || errors.Is(err, errLost):
		return
	case errors.As(err, &failed):
		err = d.fail(context.WithoutCancel(ctx), failed)
	case ctx.Err() != nil: // the next process goes on
		err = d.dues.PutBack(context.WithoutCancel(ctx), due, d.failures, 0)
	}
	if err == nil {
		return
	}
	pause := ourBackOff
	if _, refused := domain.Refusal(err); refused { // the workspace is not served at the moment
		pause = refusedBackOff
	} else if ctx.Err() == nil {
		j.Log.WarnContext(ctx, "delivery to a receiver was broken off, and goes on later", "workspace", due.Workspace.ID, "receiver", due.Receiver, "error", err.Error())
	}
	if err := d.dues.PutBack(context.WithoutCancel(ctx), due, d.failures, pause); err != nil && ctx.Err() == nil {
		j.Log.WarnContext(ctx, "a receiver could not be put back: it goes on when its lease runs out", "workspace", due.Workspace.ID, "receiver", due.Receiver, "error", err.Error())
	}
}

// sendError is a failure of the receiver, or on the way to it. taken is how many events it took before.
type sendError struct {
	error
	taken    int
	position int64 // of the last of those
}

func (e *sendError) Unwrap() error { return e.error }

func (d *delivering) run(ctx, sending context.Context) error {
	if held, err := d.dues.Held(ctx, d.due); err != nil {
		return err
	} else if !held {
		return errLost
	}
	before := []pg.Statement{d.cursor.Claim()}
	idle := time.Now()
	for ctx.Err() == nil {
		if err := d.renew(ctx); err != nil {
			return err
		}
		rung := d.Bell.Of(d.due.Workspace) // before the read: an event that the read does not see rings
		next, err := d.Projections.NextToDeliver(ctx, d.due.Workspace, d.cursor, d.position, d.types, d.limit(), pageBytes, before...)
		if before = nil; err != nil {
			return err
		}
		if next.Active() && d.outdated(next) {
			if err := d.prepare(ctx, next); err != nil {
				return err
			}
			continue
		}
		if next.Active() {
			taken, err := d.send(sending, next)
			if err != nil {
				return err
			}
			if beyond := eventstore.Beyond(d.position, next.Records[:taken], next.Head.Position); beyond > d.position {
				before = append(before, d.cursor.Sent(beyond, taken))
				d.position, idle = beyond, time.Now()
				continue
			}
			if d.await(ctx, rung, idle) {
				continue
			}
		}
		if done, err := d.dues.Done(ctx, d.due); done || err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), d.note(ctx, before))
}

// note stores how far the delivery is when the process ends.
func (d *delivering) note(ctx context.Context, before []pg.Statement) error {
	if len(before) == 0 {
		return nil
	}
	return d.DB.Do(context.WithoutCancel(ctx), d.due.Workspace, before...)
}

// limit is how many events are read at once: none while the receiver's settings are not known, and one while the receiver fails.
func (d *delivering) limit() int {
	switch {
	case d.sender == nil:
		return 0
	case d.failures > 0:
		return 1
	}
	return pageEvents
}

// renew renews the lease when it is old enough. The error is errLost when another process has it.
func (d *delivering) renew(ctx context.Context) error {
	if time.Since(d.renewed) < renewAfter {
		return nil
	}
	begun := time.Now()
	kept, err := d.dues.Renew(ctx, d.due)
	if err == nil && !kept {
		err = errLost
	}
	d.renewed = begun
	return err
}

// outdated tells whether the page was read for settings, or from a position, that have changed.
func (d *delivering) outdated(next projections.ToDeliver) bool {
	return d.sender == nil || next.Receiver.Version != d.receiver.Version || next.Position != d.position || d.expired(next.Now)
}

// expired tells whether the previous secret no longer signs.
func (d *delivering) expired(now time.Time) bool {
	return d.signsUntil != nil && !now.Before(*d.signsUntil)
}

// prepare makes the sender for the current settings.
func (d *delivering) prepare(ctx context.Context, next projections.ToDeliver) (err error) {
	d.position = next.Position
	if d.sender != nil && next.Receiver.Version == d.receiver.Version && !d.expired(next.Now) {
		return nil
	}
	d.close()
	d.receiver, d.signsUntil = next.Receiver, nil
	if until := d.receiver.SecretUntil; until != nil && next.Now.Before(*until) {
		d.signsUntil = until
	}
	if d.types, err = d.receiver.EventTypes(); err != nil { // a newer version of the program has written them
		return domain.ErrNewer
	}
	d.sender, err = d.Commands.OpenReceiver(ctx, d.due.Workspace, d.receiver, next.Now)
	return err
}

func (d *delivering) close() {
	if d.sender != nil {
		d.sender.Close()
		d.sender = nil
	}
}

// send sends a page, and returns how many of its events were taken.
func (d *delivering) send(ctx context.Context, next projections.ToDeliver) (taken int, err error) {
	if len(next.Records) == 0 {
		return 0, nil
	}
	events, err := d.Commands.Outgoing(ctx, d.due.Workspace, d.receiver, next.Head.Epoch, next.Records)
	if err != nil {
		return 0, err
	}
	sending, span := telemetry.BeginAfter(ctx, "deliver", d.due.Workspace.ID, next.Records[0].Position, next.Records[len(next.Records)-1].Position)
	defer span.End()
	span.Text("kluis.receiver.kind", d.receiver.Kind)
	taken, err = d.sender.Send(sending, events)
	span.Int("kluis.events", int64(taken))
	telemetry.Delivered.WithLabelValues(d.receiver.Kind).Add(float64(taken))
	if taken > 0 {
		d.failures = 0
		telemetry.DeliveryLag.WithLabelValues(d.receiver.Kind).Observe(time.Since(events[0].At).Seconds())
	}
	if err != nil && ctx.Err() == nil {
		telemetry.DeliveryFailures.WithLabelValues(d.receiver.Kind).Inc()
		span.Failed()
		failed := &sendError{error: err, taken: taken}
		if taken > 0 {
			failed.position = next.Records[taken-1].Position
		}
		return taken, failed
	}
	return taken, err
}

// await waits for the next event for as long as it is worth waiting. It returns true when there may be one.
func (d *delivering) await(ctx context.Context, rung <-chan struct{}, idle time.Time) bool {
	for time.Since(idle) < lingerFor && !d.underWay.crowded() {
		select {
		case <-rung:
			return true
		case <-ctx.Done():
			return true
		case <-time.After(time.Second):
		}
		if d.renew(ctx) != nil {
			return true // run finds out what is wrong
		}
	}
	return false
}

// fail notes a failure, and stops the receiver or leaves it alone for a pause.
func (d *delivering) fail(ctx context.Context, failed *sendError) error {
	pause := max(backOffAfter(d.failures), min(delivery.RetryAfter(failed.error), maxBackOff))
	d.failures++
	var statements []pg.Statement
	if failed.taken > 0 {
		statements = append(statements, d.cursor.Sent(failed.position, failed.taken))
	}
	var long bool
	err := d.DB.Do(ctx, d.due.Workspace, append(statements, d.cursor.Failed(&long, delivery.Explain(failed.error), pause, d.receiver.ResumedAt))...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // another process holds the cursor
	}
	if err != nil {
		return err
	}
	reason := ""
	switch {
	case delivery.Gone(failed.error):
		reason = domain.ReceiverGone
	case long:
		reason = domain.ReceiverFails
	default:
		return d.dues.PutBack(ctx, d.due, d.failures, pause)
	}
	if err := d.Commands.StopReceiver(ctx, d.due.Workspace, d.due.Receiver, reason); err != nil {
		return err
	}
	if done, err := d.dues.Done(ctx, d.due); done || err != nil {
		return err
	}
	return d.dues.PutBack(ctx, d.due, 0, 0) // the next lease finds that the receiver is stopped, or was resumed
}

// backOffAfter is the pause for a receiver that has failed so often before, give or take a tenth, so that many that failed together do not come back
// together.
func backOffAfter(failures int) time.Duration {
	pause := min(backOff<<min(failures, 20), maxBackOff)
	return pause - pause/10 + rand.N(pause/5) //nolint:gosec // spreads load, guards nothing
}
