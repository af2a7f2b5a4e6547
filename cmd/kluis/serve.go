package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/jobs"
)

// serve is `kluis serve`.
type serve struct {
	settings

	Listen         string        `env:"KLUIS_LISTEN" default:"127.0.0.1:8080" help:"Address served."`
	PublicURL      string        `name:"public-url" env:"KLUIS_PUBLIC_URL" placeholder:"URL" help:"Where people reach Kluis, for links in mails; default http://$$KLUIS_LISTEN."`
	SMTPURL        string        `name:"smtp-url" env:"KLUIS_SMTP_URL" placeholder:"URL" help:"smtp://[user:pass@]host:port; empty: mails are written to KLUIS_DATA/mail and their path is logged."`
	MailFrom       string        `name:"mail-from" env:"KLUIS_MAIL_FROM" default:"Kluis <kluis@localhost>" help:"Sender of mails."`
	TrustedProxies proxies       `name:"trusted-proxies" env:"KLUIS_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Networks whose X-Forwarded-For counts."`
	Limits         []string      `env:"KLUIS_LIMITS" placeholder:"NAME=COUNT/DURATION,..." help:"Limits other than the defaults, or NAME=off: signup_ip=5/1h, signup_domain=10/24h, login_ip=20/15m, login_account=5/15m, reset_account=5/1h, reset_account_day=10/24h, api_member=600/1m."`
	ResetCodeLife  time.Duration `name:"reset-code-life" env:"KLUIS_RESET_CODE_LIFE" default:"15m" help:"How long a code for a new password is good: 1m to 15m; strict is 10m."`
	Background     bool          `env:"KLUIS_BACKGROUND" default:"true" negatable:"" help:"Also run what happens by itself: projections, mail. Without it reads are as right, only slower."`
}

func (s serve) Run(ctx context.Context, out outputs) error {
	if err := s.check(); err != nil {
		return err
	}
	begun := false
	err := s.run(ctx, out, func() { begun = true })
	if ctx.Err() != nil && !begun {
		return nil // told to end before it served: there is nothing to finish
	}
	return err
}

func (s serve) run(ctx context.Context, out outputs, begin func()) error {
	trusted, err := s.TrustedProxies.prefixes()
	if err != nil {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	keys, err := s.loadKeys(s.logger(out.stderr))
	if err != nil {
		return err
	}
	b, err := s.open(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.migrate(ctx); err != nil {
		return err
	}
	sender, err := mail.NewSender(s.SMTPURL, filepath.Join(s.Data, "mail"), s.MailFrom, b.log)
	if err != nil {
		return err
	}
	if err := b.checkKeys(ctx, keys); err != nil {
		return err
	}
	does, err := s.commands(ctx, b, keys, rules)
	if err != nil {
		return err
	}
	defer does.Wait()
	server, err := http.New(http.Options{
		Authenticate: does.Authenticate, Commands: does, Views: b.views, Ready: b.ready,
		Log: b.log, TrustedProxies: trusted, Version: version,
	})
	if err != nil {
		return err
	}
	background, err := jobs.New(jobs.Needs{
		DB: b.db, Bell: b.bell, Views: b.views, Commands: does, Sender: sender, Keys: keys, Log: b.log,
	})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("KLUIS_LISTEN: %w", err)
	}
	b.log.Info("serving", "address", "http://"+listener.Addr().String(), "docs", "http://"+listener.Addr().String()+"/api/docs/", "version", version)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx, listener) })
	if s.Background {
		group.Go(func() error { return background.Run(ctx) })
	}
	begin()
	err = group.Wait()
	b.log.Info("stopped")
	return err
}

// check finds what is wrong with where to listen and how to send mails, before anything is opened.
func (s serve) check() error {
	_, port, err := net.SplitHostPort(s.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return usageError{fmt.Errorf("KLUIS_LISTEN: %q is no host:port such as 127.0.0.1:8080", s.Listen)}
	}
	if err := mail.Check(s.SMTPURL, s.MailFrom); err != nil {
		return usageError{err}
	}
	return nil
}

// rules checks what the settings say about limits.
func (s serve) rules() (limit.Rules, error) {
	if s.ResetCodeLife < time.Minute || s.ResetCodeLife > 15*time.Minute {
		return nil, usageError{fmt.Errorf("KLUIS_RESET_CODE_LIFE: %s is not 1m to 15m", s.ResetCodeLife)}
	}
	rules, err := limit.Parse(s.Limits)
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_LIMITS: %w", err)}
	}
	return rules, nil
}

func (s serve) commands(ctx context.Context, b *base, keys *keyring.Keyring, rules limit.Rules) (*commands.Commands, error) {
	hasher, err := password.NewHasher(password.Default, runtime.GOMAXPROCS(0), 64)
	if err != nil {
		return nil, err
	}
	outbox, err := jobs.NewOutbox(b.db, keys)
	if err != nil {
		return nil, err
	}
	limits, err := limit.Open(ctx, b.db, keys, rules, b.log)
	if err != nil {
		return nil, err
	}
	return commands.New(commands.Needs{
		DB: b.db, Store: b.store, Views: b.views, Tenancy: b.tenancy, Keys: keys, Vault: vault.New(b.db, keys), Hasher: hasher,
		Outbox: outbox, Limits: limits, Log: b.log, Region: "be", ResetCodeLife: s.ResetCodeLife,
	}), nil
}
