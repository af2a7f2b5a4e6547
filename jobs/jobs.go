package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Needs is what jobs work with.
type Needs struct {
	DB          *pg.DB
	Bell        *eventstore.Bell
	Projections *projections.Projections
	Commands    *commands.Commands
	Sender      *mail.Sender
	Keys        *keyring.Keyring
	Log         *slog.Logger

	// NoCatchUp leaves catching up to reads. Reactions and mails go on.
	NoCatchUp bool
}

// Jobs does the work of the background.
type Jobs struct {
	Needs
	reactions []reaction
	mails     *mails
	moved     moved
	queued    chan struct{} // has an element when a reaction may have queued work
	dues      *eventstore.Dues
	underWay  underWay
	witnesses *witnesses
}

// New makes jobs; Run runs them.
func New(n Needs) (*Jobs, error) {
	mails, err := newMails(n)
	if err != nil {
		return nil, err
	}
	return &Jobs{Needs: n, reactions: reactions, queued: make(chan struct{}, 1), mails: mails, dues: eventstore.NewDues(n.DB, n.Log),
		witnesses: newWitnesses(n.Commands.Witnesses, n.Commands.CosignaturesWanted),
		underWay:  underWay{of: map[uuid.UUID]int{}, failed: map[uuid.UUID]int{}}}, nil
}

// patience is how long work may go on when the process ends. Longer work is broken off, and the next process does it again.
const patience = 10 * time.Second

// panicPause is the pause before work begins again that has ended in a panic.
const panicPause = 10 * time.Second

// Run works until ctx ends, and then finishes what it has begun. It may be called once. The error says why it could not begin; whatever fails
// later is logged and tried again.
func (j *Jobs) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	run := func(work func(context.Context) error) { group.Go(panics.Restarted(ctx, j.Log, panicPause, work)) }
	group.Go(func() error { return j.Bell.Connect(ctx, j.DB, j.Log) })
	run(j.follow)
	run(j.sendMails)
	run(j.sweep)
	run(j.runDeliveries)
	run(j.runQueues)
	run(j.tellSubprocessors)
	run(j.retain)
	run(j.runErasures)
	if !j.NoCatchUp {
		run(j.renew)
		run(j.growTrees)
		run(j.runWitnesses)
	}
	return group.Wait()
}
