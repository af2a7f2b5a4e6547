package main

import (
	"context"
	"fmt"

	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/projections"
)

// migrate is `kluis migrate [status]`.
type migrate struct {
	Up     migrateUp     `cmd:"" default:"1" help:"Apply the missing migrations (the default)."`
	Status migrateStatus `cmd:"" help:"Say which migrations are missing, and change nothing."`
}

type migrateUp struct{ settings }

func (m migrateUp) Run(ctx context.Context, out outputs) error {
	return m.each(ctx, outside{}, func(c cell) error {
		b, err := c.open(ctx, out.stderr)
		if err != nil {
			return err
		}
		defer b.close()
		if err := b.migrate(ctx); err != nil {
			return err
		}
		return b.printStatus(ctx, out)
	})
}

type migrateStatus struct{ settings }

func (m migrateStatus) Run(ctx context.Context, out outputs) error {
	return m.each(ctx, outside{}, func(c cell) error {
		b, err := c.openThere(ctx, out.stderr)
		if err != nil {
			return err
		}
		defer b.close()
		return b.printStatus(ctx, out)
	})
}

func (b *base) printStatus(ctx context.Context, out outputs) error {
	status, err := b.Tenancy.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stdout, "control schema: %d of %d migrations\nworkspaces: %d, of which %d lack migrations (this program has %d)\n",
		status.Control, status.ControlAll, status.Workspaces, status.Behind, status.WorkspaceAll)
	if status.Newer > 0 || status.Control > status.ControlAll {
		fmt.Fprintf(out.stdout, "a newer kluis has migrated the control schema, or workspaces (%d): this program leaves them as they are, and makes no new workspaces\n", status.Newer)
	}
	if status.OlderShape > 0 {
		fmt.Fprintf(out.stdout, "read models: %d workspaces have an older shape than %d; kluis serve rebuilds these in the background\n", status.OlderShape, projections.Shape)
	}
	if status.NewerShape > 0 {
		fmt.Fprintf(out.stdout, "read models: %d workspaces have a newer shape than %d: this program reads these, but does not update them; to stay on this program after a roll-back, run kluis rebuild\n", status.NewerShape, projections.Shape)
	}
	for _, why := range status.Failed {
		fmt.Fprintln(out.stdout, why)
	}
	switch {
	case status.Foreign > 0:
		return fmt.Errorf("%d of %d workspaces: %w", status.Foreign, status.Workspaces, tenancy.ErrForeign)
	case len(status.Failed) > 0:
		return fmt.Errorf("%d of %d workspaces could not be migrated", len(status.Failed), status.Workspaces)
	}
	return nil
}
