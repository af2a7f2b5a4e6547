package main

import (
	"context"
	"fmt"
	"time"
)

// rebuild is `kluis rebuild`.
type rebuild struct {
	settings
	Slug  string `arg:"" optional:"" help:"The workspace; default: all."`
	Check bool   `help:"Only compare the read models with the log. The exit status is 1 when they differ."`
}

func (r rebuild) Run(ctx context.Context, out outputs) error {
	return r.eachOr(ctx, out, outside{}, r.Slug, func(c cell) error { return r.run(ctx, c, out) })
}

func (r rebuild) run(ctx context.Context, c cell, out outputs) error {
	b, err := c.openMigrated(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	entries, err := b.workspaces(ctx, r.Slug)
	if err != nil {
		return err
	}
	differ := 0
	for _, entry := range entries {
		progress := progress(out.stderr, entry.Slug)
		if r.Check {
			drifts, err := b.Projections.Check(ctx, entry.Workspace(), progress)
			if err != nil {
				return fmt.Errorf("%s: %w", entry.Slug, err)
			}
			for _, d := range drifts {
				differ++
				fmt.Fprintf(out.stdout, "%s: %d rows of %s differ from the log\n", entry.Slug, d.Rows, d.Table)
			}
			continue
		}
		start := time.Now()
		events, err := b.Projections.Rebuild(ctx, entry.Workspace(), progress)
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Slug, err)
		}
		took := time.Since(start)
		fmt.Fprintf(out.stdout, "%s: rebuilt from %d events in %s (%.0f events/s)\n", entry.Slug, events, took.Round(time.Millisecond), float64(events)/took.Seconds())
	}
	if differ > 0 {
		return fmt.Errorf("%d read models differ: kluis rebuild mends them", differ)
	}
	if r.Check {
		fmt.Fprintf(out.stdout, "%d workspaces: every read model follows from the log\n", len(entries))
	}
	return nil
}
