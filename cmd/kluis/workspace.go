package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/kluis-eu/kluis/internal/tenancy"
)

// workspace is `kluis workspace list|show|hold|release`.
type workspace struct {
	List    workspaceList    `cmd:"" help:"List the workspaces, the oldest first."`
	Show    workspaceShow    `cmd:"" help:"Show one workspace."`
	Hold    workspaceHold    `cmd:"" help:"Close a workspace to everybody, at once and in every process, until it is released. Nothing of it is changed."`
	Release workspaceRelease `cmd:"" help:"Open a workspace that is on hold."`
}

type workspaceList struct{ settings }

func (l workspaceList) Run(ctx context.Context, out outputs) error {
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLUG\tID\tREGION\tSTATUS\tCREATED")
	err := l.each(ctx, outside{}, func(c cell) error { return c.list(ctx, out, table) })
	return errors.Join(err, table.Flush())
}

func (c cell) list(ctx context.Context, out outputs, table io.Writer) error {
	b, err := c.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	entries, err := b.Tenancy.All(ctx)
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Slug, e.ID, e.Region, e.Status, e.CreatedAt.UTC().Format(time.RFC3339))
	}
	return err
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
	w, mark, err := b.Projections.GetWorkspace(ctx, entry.Workspace())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "slug\t%s\nname\t%s\nid\t%s\nplan\t%s\nregion\t%s\ncreated\t%s\nmigrations\t%d\nhead\t%d\nread models\t%d (%d behind)\n",
		w.Slug, w.Name, w.ID, w.Plan, w.Region, w.CreatedAt.UTC().Format(time.RFC3339), entry.Version, mark.Head, mark.Position, mark.Behind())
	return table.Flush()
}

type workspaceHold struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (h workspaceHold) Run(ctx context.Context, out outputs) error {
	return h.turn(ctx, out, h.Slug, "on hold", (*tenancy.Tenancy).Hold)
}

type workspaceRelease struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (r workspaceRelease) Run(ctx context.Context, out outputs) error {
	return r.turn(ctx, out, r.Slug, "open", (*tenancy.Tenancy).Release)
}

func (s settings) turn(ctx context.Context, out outputs, slug, is string, how func(*tenancy.Tenancy, context.Context, string) error) error {
	b, _, err := s.openWorkspace(ctx, out, slug)
	if err != nil {
		return err
	}
	defer b.close()
	if err := how(b.Tenancy, ctx, slug); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s is %s\n", slug, is)
	return err
}
