package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// How many receivers one process delivers to at once, in all and of one workspace. At most half of each number may be receivers that failed the last
// time: so those that answer have room, however many hang.
const (
	deliveriesAtOnce     = 128
	deliveriesOfOne      = 64
	deliveriesThatLinger = deliveriesAtOnce / 2
)

// underWay are the deliveries of this process.
type underWay struct {
	mu      sync.Mutex
	all     int
	failing int
	of      map[uuid.UUID]int // by workspace
	failed  map[uuid.UUID]int // by workspace: receivers that failed the last time
	running sync.WaitGroup
}

// room says which further receivers the process takes on.
func (u *underWay) room() eventstore.Room {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := eventstore.Room{Any: u.all < deliveriesAtOnce, Failing: u.failing < deliveriesAtOnce/2}
	for id, n := range u.of {
		if n >= deliveriesOfOne {
			r.Full = append(r.Full, id)
		}
	}
	for id, n := range u.failed {
		if n >= deliveriesOfOne/2 {
			r.Failed = append(r.Failed, id)
		}
	}
	return r
}

// crowded tells whether a delivery that waits for its next event should make room for others.
func (u *underWay) crowded() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all > deliveriesThatLinger
}

func (u *underWay) count(due eventstore.Due, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all += n
	add(u.of, due.Workspace.ID, n)
	if due.Failures > 0 {
		u.failing += n
		add(u.failed, due.Workspace.ID, n)
	}
	telemetry.Deliveries.Set(float64(u.all))
}

func add(to map[uuid.UUID]int, id uuid.UUID, n int) {
	if to[id] += n; to[id] == 0 {
		delete(to, id)
	}
}

// runDeliveries delivers to the receivers that are due, until ctx ends.
func (j *Jobs) runDeliveries(ctx context.Context) error {
	sending, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	context.AfterFunc(ctx, func() { time.AfterFunc(lastBreath, end) })
	err := j.dues.Run(ctx, j.underWay.room, func(due eventstore.Due) {
		j.underWay.count(due, 1)
		j.underWay.running.Go(func() {
			defer j.dues.Wake()
			defer j.underWay.count(due, -1)
			j.deliver(ctx, sending, due)
		})
	})
	j.underWay.running.Wait()
	return err
}

// pushReceivers notes that the receivers of a workspace may have something to deliver. It is one statement, and none in a workspace without
// receivers.
func (j *Jobs) pushReceivers(ctx context.Context, w pg.Workspace, receivers []uuid.UUID) error {
	if len(receivers) == 0 {
		return nil
	}
	return j.dues.Push(ctx, w, receivers)
}

// tryAgain ends the pause of a receiver after failures: somebody has changed its settings, or wants to know whether it works.
func (j *Jobs) tryAgain(ctx context.Context, tx pgx.Tx, receiver uuid.UUID) error {
	if err := eventstore.DueNow(ctx, tx, receiver); err != nil {
		return fmt.Errorf("try receiver %s again: %w", receiver, err)
	}
	return nil
}

func (j *Jobs) receiverResumed(ctx context.Context, tx pgx.Tx, _ pg.Workspace, id uuid.UUID, _ domain.ReceiverResumed) error {
	return j.tryAgain(ctx, tx, id)
}

func (j *Jobs) receiverUpdated(ctx context.Context, tx pgx.Tx, _ pg.Workspace, id uuid.UUID, _ domain.ReceiverUpdated) error {
	return j.tryAgain(ctx, tx, id)
}

func (j *Jobs) receiverReplayed(ctx context.Context, tx pgx.Tx, _ pg.Workspace, id uuid.UUID, _ domain.ReceiverReplayed) error {
	return j.tryAgain(ctx, tx, id)
}

// receiverStopped mails the admins. The mail does not have the receiver's name, because mails hold no text that members wrote.
func (j *Jobs) receiverStopped(ctx context.Context, tx pgx.Tx, w pg.Workspace, id uuid.UUID, event domain.ReceiverStopped) error {
	return j.Commands.MailAdmins(ctx, tx, w, "receiver_stopped", map[string]string{"Receiver": id.String(), "Reason": event.Reason})
}
