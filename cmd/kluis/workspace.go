package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/kluis-eu/kluis/internal/tenancy"
)

// workspace is `kluis workspace list|show`.
type workspace struct {
	List workspaceList `cmd:"" help:"List the workspaces, the oldest first."`
	Show workspaceShow `cmd:"" help:"Show one workspace."`
}

type workspaceList struct{ settings }

func (l workspaceList) Run(ctx context.Context, out outputs) error {
	b, err := l.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	entries, err := b.tenancy.List(ctx, 0)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLUG\tID\tREGION\tCREATED")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Slug, e.ID, e.Region, e.CreatedAt.UTC().Format(time.RFC3339))
	}
	return table.Flush()
}

type workspaceShow struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (s workspaceShow) Run(ctx context.Context, out outputs) error {
	b, entry, err := s.settings.openWorkspace(ctx, out, s.Slug)
	if err != nil {
		return err
	}
	defer b.close()
	w, mark, err := b.views.GetWorkspace(ctx, entry.Workspace())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "slug\t%s\nname\t%s\nid\t%s\nplan\t%s\nregion\t%s\ncreated\t%s\nmigrations\t%d\nhead\t%d\nread models\t%d (%d behind)\n",
		w.Slug, w.Name, w.ID, w.Plan, w.Region, w.CreatedAt.UTC().Format(time.RFC3339), entry.Version, mark.Head, mark.Position, mark.Behind())
	return table.Flush()
}

// openWorkspace opens the database and finds a workspace in it.
func (s settings) openWorkspace(ctx context.Context, out outputs, slug string) (*base, tenancy.Entry, error) {
	b, err := s.openMigrated(ctx, out.stderr)
	if err != nil {
		return nil, tenancy.Entry{}, err
	}
	entry, err := b.tenancy.BySlug(ctx, slug)
	if err != nil {
		b.close()
		return nil, tenancy.Entry{}, err
	}
	return b, entry, nil
}
