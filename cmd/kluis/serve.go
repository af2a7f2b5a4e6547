package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/cmd/app"
	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// serve is `kluis serve`.
type serve struct {
	settings
	outside
	erasureGrace
	witnessed

	Listen           string        `env:"KLUIS_LISTEN" default:"127.0.0.1:8080" help:"Address to serve."`
	PublicURL        string        `name:"public-url" env:"KLUIS_PUBLIC_URL" placeholder:"URL" help:"Where people reach Kluis, for the links in mails. Default: http://$$KLUIS_LISTEN, or no links when that is any address or any port."`
	SMTPURL          string        `name:"smtp-url" env:"KLUIS_SMTP_URL" placeholder:"URL" help:"smtp://[user:pass@]host:port; empty: mails are written to KLUIS_DATA/mail, and the log names the files."`
	MailFrom         string        `name:"mail-from" env:"KLUIS_MAIL_FROM" default:"Kluis <kluis@localhost>" help:"Sender of mails."`
	TrustedProxies   networks      `name:"trusted-proxies" env:"KLUIS_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Networks of proxies whose X-Forwarded-For is believed."`
	ReceiverNetworks networks      `name:"receiver-networks" env:"KLUIS_RECEIVER_NETWORKS" placeholder:"CIDR,..." help:"Networks in which receivers may be, besides the public internet; without this, loopback and private addresses are refused. Only receivers in these networks may have unencrypted URLs."`
	Limits           []string      `env:"KLUIS_LIMITS" placeholder:"NAME=COUNT/DURATION,..." help:"Limits in place of the defaults, or NAME=off: signup_ip=5/1h, signup_domain=10/24h, login_ip=20/15m, login_account=5/15m, login_day=20/24h, login_run=100/720h, factor_day=20/24h, factor_run=100/720h, code_run=100/720h, forgot_ip=60/1h, reset_account=5/1h, reset_account_day=10/24h, invite_email=5/24h, invite_member=200/1h, invite_workspace=500/24h, language=10/1h, security_pack=6/1h, api_member=600/1m."`
	Operator         string        `env:"KLUIS_OPERATOR" placeholder:"TEXT" help:"The organisation that runs Kluis, for the records that the law requires: name, address, contact for personal data."`
	ResetCodeLife    time.Duration `name:"reset-code-life" env:"KLUIS_RESET_CODE_LIFE" default:"15m" help:"How long a code for a new password is valid: 1m to 15m; strict is 10m."`
	Argon2           string        `name:"argon2" env:"KLUIS_ARGON2" default:"m=65536,t=3,p=1" help:"The cost of a password hash (Argon2id), with the memory in KiB: m=19456,t=2,p=1 at least, m=524288,t=16,p=16 at most. One hash runs on each core at once. After a change, each member gets a new hash at the next log-in."`
	Background       bool          `env:"KLUIS_BACKGROUND" default:"true" negatable:"" help:"Also do the work of the background: projections, mails, jobs. Without it reads are correct, but slower."`
}

func (s serve) Run(ctx context.Context, out outputs) error {
	begun := false
	err := s.run(ctx, out, func() { begun = true })
	if ctx.Err() != nil && !begun {
		return nil // a signal came before it served, so there is nothing to finish
	}
	return err
}

func (s serve) run(ctx context.Context, out outputs, begin func()) error {
	set, err := s.check()
	if err != nil {
		return err
	}
	app.LoadBallast()
	log := s.logger(out.stderr)
	if set.publicURL == "" {
		log.Warn("mails have no links, because KLUIS_LISTEN does not say where people reach Kluis: set KLUIS_PUBLIC_URL", "listen", s.Listen)
	}
	keys, err := set.cells[0].loadKeys(log)
	if err != nil {
		return err
	}
	endSpans, err := telemetry.Trace(ctx, version, log)
	if err != nil {
		return fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	defer endSpans()
	sender, err := mail.NewSender(s.SMTPURL, filepath.Join(s.Data, "mail"), s.MailFrom, log)
	if err != nil {
		return err
	}
	opened := &bases{log: log, stderr: out.stderr}
	defer opened.close()
	cells := make([]app.Cell, len(set.cells))
	for i, c := range set.cells {
		cells[i] = app.Cell{Region: c.name, Open: func(ctx context.Context, all *app.Cells) (*app.Program, error) {
			return opened.program(ctx, c, app.Given{
				Commands: commands.Needs{Keys: keys, Hasher: set.hasher, Region: c.name, ResetCodeLife: s.ResetCodeLife, ErasureGrace: s.ErasureGrace, PublicURL: set.publicURL,
					Operator: s.Operator, Regions: set.regions(),
					SecurityWindow: commands.SecurityWindow,
					Witnesses:      set.witnesses, CosignaturesWanted: s.CosignaturesWanted,
					Outside: delivery.NewOutside(set.receivers...)},
				Rules: set.rules, Sender: sender, Cells: all,
				HTTP: http.Options{TrustedProxies: set.trusted, Version: version},
			})
		}}
	}
	all := app.NewCells(log, ofProcess(set.hasher), cells...)
	if err := all.OpenAll(ctx, settled); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("KLUIS_LISTEN: %w", err)
	}
	log.Info("serving", "address", "http://"+listener.Addr().String(), "docs", "http://"+listener.Addr().String()+"/api/docs/", "version", version)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return all.Run(ctx, listener, s.Background) })
	group.Go(func() error { opened.followKeys(ctx, keys); return nil })
	begin()
	defer log.Info("stopped")
	return group.Wait()
}

// settled tells whether an error stays however long one waits. Such an error stops the start, even when the other regions are well.
func settled(err error) bool {
	_, outage := pg.OutageOf(err)
	return !outage
}

// bases has the open databases of a server's regions.
type bases struct {
	log    *slog.Logger
	stderr io.Writer

	mu  sync.Mutex
	all []*base
}

// program opens the database of a cell, and makes the program that serves it.
func (o *bases) program(ctx context.Context, c cell, given app.Given) (p *app.Program, err error) {
	b, err := c.open(ctx, o.stderr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.begin(ctx); err != nil {
		return nil, err
	}
	if err := b.checkKeys(ctx, given.Commands.Keys); err != nil {
		return nil, err
	}
	if given.Commands.Blobs, err = c.openBlobs(ctx, o.log); err != nil {
		return nil, err
	}
	if given.Commands.Kept, err = c.kept(ctx, given.Commands.Blobs); err != nil {
		return nil, err
	}
	given.HTTP.Ready, given.HTTP.MetricSources = b.ready, append(b.metricSources(), c.ofDisks())
	given.SelfTest = b.selfTest
	if p, err = b.Program(ctx, given); err != nil {
		return nil, err
	}
	if err := p.Commands.ReadLedger(ctx); err != nil {
		b.Log.WarnContext(ctx, "the ledger of erasures cannot be read", "error", err.Error())
	}
	b.DB.SetGate(p.Commands.Gate(b.admit))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, b)
	return p, nil
}

func (o *bases) opened() []*base {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.all)
}

func (o *bases) close() {
	for _, b := range o.opened() {
		b.close()
	}
}
