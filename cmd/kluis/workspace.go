package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/kluis-eu/kluis/internal/tenancy"
)

// workspace is `kluis workspace list|show|plan|hold|unhold|close|open|move|keep|erase|certificate`.
type workspace struct {
	List   workspaceList   `cmd:"" help:"List the workspaces, the oldest first."`
	Show   workspaceShow   `cmd:"" help:"Show one workspace."`
	Plan   workspacePlan   `cmd:"" help:"Put a workspace on a plan: free, pro, business or enterprise. The plan says how long events are kept. After a change to a lower plan, the former time holds for 30 more days, and the admins get a mail."`
	Hold   workspaceHold   `cmd:"" help:"Place a legal hold: no record of the log is pruned, whatever the plan says, until the hold is lifted."`
	Unhold workspaceUnhold `cmd:"" help:"Lift a legal hold."`
	Close  workspaceClose  `cmd:"" help:"Close a workspace to everybody, at once and in every process, until it is opened again. Nothing in it changes."`
	Open   workspaceOpen   `cmd:"" help:"Open a workspace that was closed."`
	Move   workspaceMove   `cmd:"" help:"Move a workspace to another region, while it is in use. After an interruption, run the same command again."`
	Keep   workspaceKeep   `cmd:"" help:"Serve a workspace from one region, and close the others, when a restore has brought it back in several, or a move was broken off."`
	Erase  workspaceErase  `cmd:"" help:"Erase a workspace, at once or after a time in which any admin can cancel."`

	Certificate workspaceCertificate `cmd:"" help:"Print the signed certificate of a workspace that was erased."`
}

type workspaceList struct{ settings }

func (l workspaceList) Run(ctx context.Context, out outputs) error {
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	head := sync.OnceFunc(func() { fmt.Fprintln(table, "SLUG\tID\tREGION\tSTATUS\tCREATED") })
	err := l.each(ctx, outside{}, func(c cell) error { return c.list(ctx, out, table, head) })
	return errors.Join(err, table.Flush())
}

func (c cell) list(ctx context.Context, out outputs, table io.Writer, head func()) error {
	b, err := c.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	entries, err := b.Tenancy.All(ctx)
	if err != nil {
		return err
	}
	erasing, err := b.Tenancy.Erasing(ctx)
	if err != nil {
		return err
	}
	head()
	for _, e := range append(entries, erasing...) {
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
	now, err := b.DB.Now(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "slug\t%s\nname\t%s\nid\t%s\nplan\t%s\nretention\t%s\nregion\t%s\ncreated\t%s\nmigrations\t%d\nhead\t%d\nread models\t%d (%d behind)\n",
		w.Slug, w.Name, w.ID, w.Plan, keeps(w, now), w.Region, w.CreatedAt.UTC().Format(time.RFC3339), entry.Version, mark.Head, mark.Position, mark.Behind())
	return table.Flush()
}

type workspaceClose struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (c workspaceClose) Run(ctx context.Context, out outputs) error {
	return c.turn(ctx, out, c.Slug, "closed", (*tenancy.Tenancy).CloseWorkspace)
}

type workspaceOpen struct {
	settings
	Slug string `arg:"" help:"The workspace."`
}

func (o workspaceOpen) Run(ctx context.Context, out outputs) error {
	return o.turn(ctx, out, o.Slug, "open", (*tenancy.Tenancy).OpenWorkspace)
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
