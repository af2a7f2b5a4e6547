package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// retention is `kluis retention run`.
type retention struct {
	Run retentionRun `cmd:"" help:"Prune now. The log is verified and compared with the read models first; when anything differs, nothing is deleted."`
}

type retentionRun struct {
	settings
	outside
	Listen    string `env:"KLUIS_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"As for serve."`
	PublicURL string `name:"public-url" env:"KLUIS_PUBLIC_URL" placeholder:"URL" help:"As for serve; the names of logs in checkpoints have it."`
	DryRun    bool   `help:"Say what would be deleted, and delete nothing."`
	Slug      string `arg:"" optional:"" help:"The workspace; all of them when left out."`
}

func (r retentionRun) Run(ctx context.Context, out outputs) error {
	return r.eachOr(ctx, out, r.outside, r.Slug, func(c cell) error { return r.run(ctx, c, out) })
}

func (r retentionRun) run(ctx context.Context, c cell, out outputs) error {
	b, keys, err := c.openKeyed(ctx, out)
	if err != nil {
		return err
	}
	defer b.close()
	kept, err := c.keptThere(ctx, c.Data)
	if err != nil {
		return err
	}
	url, err := serve{Listen: r.Listen, PublicURL: r.PublicURL}.publicURL()
	if err != nil {
		return err
	}
	made, err := b.Commands(ctx, commands.Needs{Keys: keys, Kept: kept, PublicURL: url}, nil)
	if err != nil {
		return err
	}
	entries, err := b.workspaces(ctx, r.Slug)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if err := r.one(ctx, out, made, e); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", e.Slug, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// one prunes one workspace, or with --dry-run says what would be deleted.
func (r retentionRun) one(ctx context.Context, out outputs, made *commands.Commands, e tenancy.Entry) (err error) {
	var p commands.Pruning
	if r.DryRun {
		p, err = made.DuePruning(ctx, e.Workspace())
	} else {
		p, err = made.Prune(ctx, e.Workspace(), commands.Hearer{Progress: progress(out.stderr, e.Slug), Step: func(step string) error {
			_, err := fmt.Fprintf(out.stderr, "pruning %s: %s\n", e.Slug, step)
			return err
		}})
	}
	if err != nil {
		return err
	}
	now, err := made.DB.Now(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stdout, "%s: plan %s, %s", e.Slug, p.Workspace.Plan, keeps(p.Workspace, now))
	switch {
	case r.DryRun && p.Events > 0:
		fmt.Fprintf(out.stdout, "; %d records would be deleted, up to position %d of %s", p.Events, p.UpTo, p.At.UTC().Format(time.RFC3339))
	case p.Deleted > 0:
		fmt.Fprintf(out.stdout, "; %d records are deleted, up to position %d", p.Deleted, p.UpTo)
	default:
		fmt.Fprint(out.stdout, "; no record is older")
	}
	_, err = fmt.Fprintln(out.stdout)
	return err
}
