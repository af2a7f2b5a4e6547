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
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Needs is what jobs stand on.
type Needs struct {
	DB          *pg.DB
	Bell        *eventstore.Bell
	Projections *projections.Projections
	Commands    *commands.Commands
	Sender      *mail.Sender
	Keys        *keyring.Keyring
	Log         *slog.Logger

	// NoCatchUp leaves the read models to whoever reads them. Reactions and mails go on.
	NoCatchUp bool
}

// Jobs runs what happens by itself.
type Jobs struct {
	Needs
	reactions []reaction
	mails     *mails
	moved     moved
	queued    chan struct{} // holds one element when a reaction may have queued work
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

// patience is how long work may go on when the end comes. Longer work is broken off, and done
// again by the next process.
const patience = 10 * time.Second

// Run works until ctx ends, and then finishes what it is at. It works once. An error says why it could not begin;
// what goes wrong later is logged and tried again.
func (j *Jobs) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return j.Bell.Connect(ctx, j.DB, j.Log) })
	group.Go(func() error { return j.follow(ctx) })
	group.Go(func() error { return j.sendMails(ctx) })
	group.Go(func() error { return j.sweep(ctx) })
	group.Go(func() error { return j.runDeliveries(ctx) })
	group.Go(func() error { return j.runQueues(ctx) })
	group.Go(func() error { return j.tellSubprocessors(ctx) })
	group.Go(func() error { return j.retain(ctx) })
	group.Go(func() error { return j.runErasures(ctx) })
	if !j.NoCatchUp {
		group.Go(func() error { return j.renew(ctx) })
		group.Go(func() error { return j.growTrees(ctx) })
		group.Go(func() error { return j.runWitnesses(ctx) })
	}
	return group.Wait()
}
