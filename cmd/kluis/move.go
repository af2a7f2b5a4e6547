package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// workspaceMove is `kluis workspace move`.
type workspaceMove struct {
	settings
	outside
	Slug string `arg:"" help:"The workspace."`
	To   string `arg:"" help:"The region to move it to."`
}

func (m workspaceMove) Run(ctx context.Context, out outputs) error {
	m.Region = ""
	all, err := m.cells(m.outside)
	if err != nil {
		return err
	}
	m.To = strings.ToLower(m.To)
	if !slices.ContainsFunc(all, func(c cell) bool { return c.name == m.To }) {
		return usageError{fmt.Errorf("KLUIS_REGIONS names no region %s", m.To)}
	}
	bases, err := openCells(ctx, out, all)
	defer func() {
		for _, b := range bases {
			b.close()
		}
	}()
	if err != nil {
		return err
	}
	from, entry, err := m.find(ctx, bases)
	if err != nil {
		return err
	}
	move := commands.Move{Entry: entry, Home: bases[all[0].name].DB, Say: func(step string) { fmt.Fprintln(out.stderr, step) }}
	for _, c := range all {
		into := &move.From
		if c.name == m.To {
			into = &move.To
		} else if c.name != from {
			continue
		}
		if *into, err = c.end(ctx, bases[c.name]); err != nil {
			return err
		}
	}
	done, err := move.Run(ctx)
	if err != nil {
		return err
	}
	if done.Root == "" {
		_, err = fmt.Fprintf(out.stdout, "%s is in %s\n", m.Slug, m.To)
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s moved from %s to %s: %d rows, %d blobs; %d records with the root %s on both sides; nothing could be changed for %s\n",
		m.Slug, from, m.To, done.Rows, done.Blobs, done.Head, done.Root, done.Fenced.Round(time.Millisecond))
	return err
}

// openCells opens the databases of all regions, which a move needs to find the workspace, and to tell the home.
func openCells(ctx context.Context, out outputs, all []cell) (map[string]*base, error) {
	bases := map[string]*base{}
	for _, c := range all {
		b, err := c.openMigrated(ctx, out.stderr)
		if err != nil {
			return bases, fmt.Errorf("region %s: %w", c.name, err)
		}
		bases[c.name] = b
		if err := b.Tenancy.Belong(ctx, c.name, all[0].name); err != nil {
			return bases, err
		}
		if !c.first {
			home := bases[all[0].name].Tenancy
			b.Tenancy.Home = func() (*tenancy.Tenancy, error) { return home, nil }
		}
	}
	return bases, nil
}

// twiceError refuses to choose between two copies of a workspace.
func twiceError(slug, one, other string) error {
	return fmt.Errorf("workspace %[1]q is in region %[2]s and in region %[3]s, because a backup from before a move was put back: `kluis doctor` says which log has all records, and `kluis workspace keep %[1]s REGION` serves one", slug, one, other)
}

// find finds the region that the workspace moves from: where it is, or where an earlier move left something of it.
func (m workspaceMove) find(ctx context.Context, bases map[string]*base) (from string, entry tenancy.Entry, err error) {
	for name, b := range bases {
		e, err := b.Tenancy.Named(ctx, m.Slug)
		switch {
		case errors.Is(err, tenancy.ErrUnknown):
		case err != nil:
			return "", e, fmt.Errorf("region %s: %w", name, err)
		case e.There() && entry.There() && entry.Slug != "":
			return "", e, twiceError(m.Slug, from, name)
		case e.Moved() || entry.Slug == "" && e.There():
			from, entry = name, e
		}
	}
	switch {
	case entry.Slug == "":
		return "", entry, fmt.Errorf("workspace %q: %w, in any region", m.Slug, tenancy.ErrUnknown)
	case from == m.To && !entry.Moved():
		return "", entry, fmt.Errorf("workspace %q is in %s already", m.Slug, m.To)
	}
	return from, entry, nil
}
