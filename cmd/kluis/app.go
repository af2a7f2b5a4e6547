package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/kluis-eu/kluis/cmd/app"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/projections"
)

// base is a database that a command has opened, migrated or not, with the parts of the program that need no keys.
type base struct {
	*app.Base
	log           *slog.Logger
	url, ownerURL string           // of the database, with the logins' passwords: see settings
	private       *pgserver.Server // nil when KLUIS_DATABASE_URL names the database

	setConfig    string // KLUIS_SET_CONFIG
	region, home string // the region of the database, and the region that lists the slugs of all workspaces
}

// maxConns limits the connections of one process. On two cores more connections are not faster.
const maxConns = 20

// open opens the database, and makes a private one when there is none. serve, migrate and restore use it; other commands use openThere.
func (s settings) open(ctx context.Context, stderr io.Writer) (b *base, err error) {
	log := s.logger(stderr)
	b = &base{log: log, setConfig: s.SetConfig, region: s.Region, home: s.home}
	defer func() {
		if err != nil {
			b.close()
			b = nil
		}
	}()
	url, ownerURL := s.DatabaseURL, s.OwnerURL
	if url == "" {
		if err = s.firstKeys(log); err != nil {
			return b, err
		}
		if b.private, err = private.start(ctx, s.postgresFolder(), log); err != nil {
			return b, err
		}
		url, ownerURL = b.private.URL("kluis"), b.private.AdminURL("kluis")
	}
	b.url, b.ownerURL = url, cmp.Or(ownerURL, url)
	db, err := pg.Open(ctx, url, maxConns)
	if errors.Is(err, pg.ErrURL) {
		return b, usageError{err}
	} else if err != nil {
		return b, err
	}
	if ownerURL != "" {
		err = db.SeparateOwner(ctx, ownerURL)
	}
	if err == nil {
		b.Base, err = app.On(db, log, projections.Bound)
	}
	if err != nil {
		db.Close()
	}
	if errors.Is(err, pg.ErrURL) {
		err = usageError{errors.New("KLUIS_OWNER_URL cannot be parsed: expected postgres://user:password@host:port/database")}
	}
	return b, err
}

// openThere is open for a database that must exist, so that a command in a wrong folder fails.
func (s settings) openThere(ctx context.Context, stderr io.Writer) (*base, error) {
	if s.DatabaseURL == "" && !pgserver.Made(s.postgresFolder()) {
		at, err := filepath.Abs(s.Data)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("there is no Kluis in %s: name its folder in KLUIS_DATA, or its database in KLUIS_DATABASE_URL; `kluis serve` makes one", at)
	}
	return s.open(ctx, stderr)
}

// openMigrated is openThere for commands that use workspaces and migrate none. Each workspace must be migrated already.
func (s settings) openMigrated(ctx context.Context, stderr io.Writer) (*base, error) {
	b, err := s.openThere(ctx, stderr)
	if err != nil {
		return nil, err
	}
	if err := b.Tenancy.Serves(ctx); err != nil {
		b.close()
		return nil, err
	}
	b.DB.SetGate(b.Tenancy.Inspect)
	return b, nil
}

// prepare migrates the control schema, and checks that no workspace may enter another.
func (b *base) prepare(ctx context.Context) error {
	if err := b.Tenancy.Prepare(ctx); err != nil {
		return err
	}
	if err := mail.Migrate(ctx, b.DB); err != nil {
		return err
	}
	if err := b.Tenancy.DoorsTest(ctx); err != nil {
		return err
	}
	if err := b.Tenancy.Belong(ctx, b.region, b.home); err != nil {
		return err
	}
	return b.checkSetConfig(ctx)
}

// checkSetConfig checks that only the logins may call set_config. By that function an SQL injection into the transaction of one workspace could take the role
// of another.
func (b *base) checkSetConfig(ctx context.Context) error {
	open, run, err := b.Tenancy.SetConfigOpen(ctx)
	if err != nil || !open || b.setConfig == "public" {
		return err
	}
	if b.setConfig == "warn" {
		b.Log.Warn("everybody may call set_config in this database, so isolation rests on there being no SQL injection", "run as a superuser", run, "or set", "KLUIS_SET_CONFIG=public")
		return nil
	}
	return fmt.Errorf("everybody may call set_config in this database: run there as a superuser: %s; or set KLUIS_SET_CONFIG=public", run)
}

// migrate migrates the control schema and all workspaces. A workspace that fails does not stop the others.
func (b *base) migrate(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.Tenancy.SelfTest(ctx); err != nil {
		return err
	}
	return b.Tenancy.Migrate(ctx, func(done, all int) { b.Log.Info("workspace migrated", "done", done, "of", all) })
}

// begin prepares a server, which migrates workspaces while it serves. It fails when the server could serve no workspace at all.
func (b *base) begin(ctx context.Context) error {
	if err := b.DB.CheckPooler(ctx); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.DB.SetGate(b.admit)
	return b.Tenancy.OursAtAll(ctx)
}

// selfTest does the whole self-test beside serving, since it takes a second for each 1,000 workspaces. When isolation does not hold, the server ends. When
// the question itself fails, as in an outage, it is asked again.
func (b *base) selfTest(ctx context.Context) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := b.Tenancy.SelfTest(ctx)
		if errors.Is(err, tenancy.ErrNotIsolated) {
			return err
		}
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // told to end
		}
		b.Log.Warn("the self-test of isolation could not be done, and is tried again", "error", err.Error())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// admit is the gate of workspaces in a server. A workspace that lacks migrations gets them, and is unavailable until then.
func (b *base) admit(ctx context.Context, w pg.Workspace, lacks error) error {
	if lacks != nil {
		if err := b.Tenancy.MovedFrom(ctx, w); errors.As(err, new(*tenancy.MovedError)) {
			return errors.Join(app.Moved(), err)
		}
		if outage, _ := pg.OutageOf(lacks); outage == pg.Closed {
			return nil // the workspace is closed, or gone
		}
	}
	err := b.Tenancy.Admit(ctx, w, lacks)
	if lacking, is := errors.AsType[*tenancy.LackingError](err); is {
		refusal := domain.Refuse(domain.Unavailable, "workspace_migrating", "the workspace is being brought up to date: ask again")
		refusal.RetryAfter = lacking.Wait
		return errors.Join(refusal, err)
	}
	if errors.Is(err, tenancy.ErrNewer) {
		return errors.Join(domain.ErrNewer, err)
	}
	return err
}

// close closes the database, and then stops the private server.
func (b *base) close() {
	if b.Base != nil {
		b.Close()
	}
	if b.private != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.private.Stop(ctx); err != nil {
			b.log.Error("stop the private Postgres", "error", err.Error())
		}
	}
}

// ready tells whether requests can be served: the database answers, accepts changes, and has the control schema of this program or a newer one. A workspace
// that lacks migrations is unavailable alone.
func (b *base) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := b.DB.Ready(ctx); err != nil {
		return err
	}
	return b.Tenancy.Serves(ctx)
}
