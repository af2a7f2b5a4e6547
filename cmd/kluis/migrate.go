package main

import (
	"context"
	"fmt"

	"github.com/kluis-eu/kluis/internal/tenancy"
)

// migrate is `kluis migrate [status]`.
type migrate struct {
	Up     migrateUp     `cmd:"" default:"1" help:"Apply what is missing (the default)."`
	Status migrateStatus `cmd:"" help:"Say what is missing, and change nothing."`
}

type migrateUp struct{ settings }

func (m migrateUp) Run(ctx context.Context, out outputs) error {
	b, err := m.open(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.migrate(ctx); err != nil {
		return err
	}
	return migrateStatus(m).print(ctx, b, out)
}

type migrateStatus struct{ settings }

func (m migrateStatus) Run(ctx context.Context, out outputs) error {
	b, err := m.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	return m.print(ctx, b, out)
}

func (m migrateStatus) print(ctx context.Context, b *base, out outputs) error {
	status, err := b.tenancy.Status(ctx)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(out.stdout, "control schema: %d of %d migrations\nworkspaces: %d, of which %d lack migrations (this program has %d)\n",
		status.Control, status.ControlAll, status.Workspaces, status.Behind, status.WorkspaceAll); err != nil || status.Foreign == 0 {
		return err
	}
	return fmt.Errorf("%d of %d workspaces: %w", status.Foreign, status.Workspaces, tenancy.ErrForeign)
}
