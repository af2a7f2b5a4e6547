package app

import (
	"context"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/jobs"
	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

// Base is a database, migrated or not, with the parts of the program that need no keys.
type Base struct {
	Log         *slog.Logger
	DB          *pg.DB
	Tenancy     *tenancy.Tenancy
	Bell        *eventstore.Bell
	Store       *eventstore.Store
	Projections *projections.Projections
}

// On makes the base of a database. bound limits how long a read catches up.
func On(db *pg.DB, log *slog.Logger, bound time.Duration) (*Base, error) {
	b := &Base{Log: log, DB: db, Bell: eventstore.NewBell()}
	var err error
	if b.Tenancy, err = tenancy.New(db, migrations.Control, migrations.Workspace); err != nil {
		return nil, err
	}
	b.Tenancy.Log, b.Tenancy.Shape, b.Tenancy.Views = log, projections.Shape, migrations.Analytics
	b.Store = eventstore.New(db, b.Bell).Accept(domain.Types()...).Prove(projections.Good)
	b.Store.OnBack(b.wentBack)
	b.Projections = projections.New(db, b.Store, b.Bell, bound)
	return b, nil
}

// wentBack is called when the log of a workspace lacks records that this process has committed.
func (b *Base) wentBack(ctx context.Context, w pg.Workspace, lost *eventstore.WentBackError) error {
	err := commands.WentBack(ctx, b.DB, b.Store, w, lost)
	if err == nil {
		b.Log.ErrorContext(ctx, "the log of a workspace went back, and another epoch of it has begun: docs/operations.md says what to check after a failover",
			"workspace", w.ID, "had", lost.Had, "has", lost.Has, "epoch", lost.Epoch)
	}
	return err
}

// Close ends appends first, and then closes the pool.
func (b *Base) Close() {
	b.Store.Close()
	b.Tenancy.Close()
	b.DB.Close()
}

// Commands makes the commands. given has the parts that the base lacks: keys, a hasher, places outside the database, and settings. Nil rules mean no limits.
func (b *Base) Commands(ctx context.Context, given commands.Needs, rules limit.Rules) (*commands.Commands, error) {
	given.DB, given.Store, given.Projections, given.Tenancy, given.Log = b.DB, b.Store, b.Projections, b.Tenancy, b.Log
	given.Vault = vault.New(b.DB, given.Keys)
	var err error
	if given.Outbox, err = jobs.NewOutbox(b.DB, given.Keys); err != nil {
		return nil, err
	}
	if rules != nil {
		if given.Limits, err = limit.Open(ctx, b.DB, given.Keys, rules, b.Log); err != nil {
			return nil, err
		}
	}
	return commands.New(given), nil
}

// Program is a process that serves.
type Program struct {
	*Base
	Commands *commands.Commands
	Jobs     *jobs.Jobs
	Server   *http.Server

	ready    func(context.Context) error
	sources  []telemetry.Source
	selfTest func(context.Context) error
}

// Given has the parts and settings of a program besides its database.
type Given struct {
	Commands commands.Needs
	Rules    limit.Rules
	Sender   *mail.Sender
	HTTP     http.Options
	Cells    *Cells                      // the cells of the process; nil: there is only this one
	SelfTest func(context.Context) error // is called once when the program begins to serve, and ends it with an error; nil: nothing
}

// Program makes a process that serves.
func (b *Base) Program(ctx context.Context, given Given) (*Program, error) {
	if given.Cells != nil {
		if err := given.Cells.join(ctx, b, &given); err != nil {
			return nil, err
		}
	}
	made, err := b.Commands(ctx, given.Commands, given.Rules)
	if err != nil {
		return nil, err
	}
	background, err := jobs.New(jobs.Needs{
		DB: b.DB, Bell: b.Bell, Projections: b.Projections, Commands: made, Sender: given.Sender, Keys: given.Commands.Keys, Log: b.Log,
	})
	if err != nil {
		return nil, err
	}
	o := given.HTTP
	o.Authenticate, o.Recognise = made.Authenticate, made.Recognise
	if o.Cells != nil {
		o.Authenticate = given.Cells.authenticated(made.Authenticate)
	}
	o.Commands, o.Projections, o.Log = made, b.Projections, b.Log
	server, err := http.New(o)
	if err != nil {
		return nil, err
	}
	return &Program{Base: b, Commands: made, Jobs: background, Server: server, ready: o.Ready, sources: o.MetricSources, selfTest: given.SelfTest}, nil
}

// Run serves until ctx ends, and finishes the requests that are under way. With background it also does the work of the background.
func (p *Program) Run(ctx context.Context, listener net.Listener, background bool) error {
	defer p.Commands.Wait()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Server.Serve(ctx, listener) })
	group.Go(func() error { return p.beside(ctx, background) })
	return group.Wait()
}

// beside does the work of a process besides serving: it keeps its database in use, and with background runs the jobs.
func (p *Program) beside(ctx context.Context, background bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Tenancy.KeepMigrating(ctx) })
	group.Go(func() error { p.DB.Watch(ctx); return nil })
	if p.selfTest != nil {
		group.Go(func() error { return p.selfTest(ctx) })
	}
	if background {
		group.Go(func() error { return p.Jobs.Run(ctx) })
	}
	return group.Wait()
}
