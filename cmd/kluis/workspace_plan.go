package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// openKeyed opens the database of a workspace, and loads its keys.
func (s settings) openKeyed(ctx context.Context, out outputs, slug string) (*base, tenancy.Entry, *keyring.Keyring, error) {
	c, err := s.of(ctx, out, outside{}, slug)
	if err != nil {
		return nil, tenancy.Entry{}, nil, err
	}
	b, keys, err := c.openKeyed(ctx, out)
	if err != nil {
		return nil, tenancy.Entry{}, nil, err
	}
	entry, err := b.Tenancy.BySlug(ctx, slug)
	if err != nil {
		b.close()
		return nil, entry, nil, err
	}
	return b, entry, keys, nil
}

// operate runs a command of the operator of Kluis on one workspace.
func (s settings) operate(ctx context.Context, out outputs, slug string, do func(*commands.Commands, tenancy.Entry) error) error {
	b, entry, keys, err := s.openKeyed(ctx, out, slug)
	if err != nil {
		return err
	}
	defer b.close()
	made, err := b.Commands(ctx, commands.Needs{Keys: keys}, nil)
	if err != nil {
		return err
	}
	return do(made, entry)
}

type workspacePlan struct {
	settings
	Retention string `placeholder:"DURATION" help:"For enterprise: the agreed time for which events are kept, such as 400d, 5y or 36h. It holds at once. Default: for ever."`
	Slug      string `arg:"" help:"The workspace."`
	Plan      string `arg:"" help:"free (events are kept for 90 days), pro (1 year), business (3 years) or enterprise (as agreed)."`
}

func (p workspacePlan) Run(ctx context.Context, out outputs) error {
	var agreed *domain.Retention
	if p.Retention != "" {
		r, err := domain.ParseRetention(p.Retention)
		if err != nil {
			return usageError{err}
		}
		agreed = &r
	}
	if _, err := (domain.Workspace{}).AgreePlan(p.Plan, agreed); err != nil {
		return usageError{err}
	}
	return p.operate(ctx, out, p.Slug, func(c *commands.Commands, e tenancy.Entry) error {
		w, err := c.OperatorPlan(ctx, e.Workspace(), p.Plan, agreed)
		if err != nil {
			return err
		}
		now, err := c.DB.Now(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out.stdout, "%s is on the plan %s: %s\n", e.Slug, w.Plan, keeps(w, now))
		return err
	})
}

// keeps says how long the events of a workspace are kept.
func keeps(w domain.Workspace, now time.Time) string {
	text := "events are kept " + w.Retention(now).String()
	if after := w.Retention(now.Add(2 * domain.RetentionGrace)); after != w.Retention(now) {
		text += fmt.Sprintf(", and from %s on %s", w.EarlierUntil.UTC().Format(time.DateOnly), after)
	}
	if w.LegalHold {
		text += "; nothing is pruned while there is a legal hold"
	}
	return text
}

type workspaceHold struct {
	settings
	Reason string `placeholder:"TEXT" help:"The reason, which the log records."`
	Slug   string `arg:"" help:"The workspace."`
}

func (h workspaceHold) Run(ctx context.Context, out outputs) error {
	return h.turnHold(ctx, out, h.Slug, "there is a legal hold: nothing is pruned", func(c *commands.Commands, w pg.Workspace) error {
		return c.OperatorHold(ctx, w, h.Reason)
	})
}

type workspaceUnhold struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (u workspaceUnhold) Run(ctx context.Context, out outputs) error {
	return u.turnHold(ctx, out, u.Slug, "the legal hold is lifted", func(c *commands.Commands, w pg.Workspace) error { return c.OperatorUnhold(ctx, w) })
}

func (s settings) turnHold(ctx context.Context, out outputs, slug, is string, do func(*commands.Commands, pg.Workspace) error) error {
	return s.operate(ctx, out, slug, func(c *commands.Commands, e tenancy.Entry) error {
		if err := do(c, e.Workspace()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out.stdout, "%s: %s\n", slug, is)
		return err
	})
}
