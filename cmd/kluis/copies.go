package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// everywhere opens all regions that can be reached, whichever --region names. mine is a database that is open already; it may be nil. The caller calls end
// when it is done.
func (s settings) everywhere(ctx context.Context, out outputs, o outside, mine *base) (all commands.Installation, end func(), err error) {
	var opened []*base
	end = func() {
		for _, b := range opened {
			b.close()
		}
	}
	s.Region, all.Patient = "", true
	cells, err := s.cells(o)
	if err != nil {
		return all, end, err
	}
	if keys, err := keyring.Load(s.keysFile(), s.KeysInline); err == nil { // without keys no entry of a ledger counts
		all.Keys = keys.PublicKeys()
	}
	for _, c := range cells {
		b := mine
		if b == nil || b.region != c.name {
			if b, err = c.openMigrated(ctx, out.stderr); err != nil {
				fmt.Fprintf(out.stderr, "region %s cannot be compared: %v\n", c.name, err)
				all.Away = append(all.Away, c.name)
				continue
			}
			opened = append(opened, b)
		}
		region, err := c.end(ctx, b)
		if err == nil {
			err = b.Tenancy.Belong(ctx, c.name, cells[0].name)
		}
		if err != nil {
			return all, end, err
		}
		all.Regions = append(all.Regions, region)
	}
	if len(all.Away) > 0 && all.Away[0] == cells[0].name {
		return all, end, errHome
	}
	listed, err := all.Regions[0].Tenancy.Regions(ctx)
	for region := range listed {
		if !slices.ContainsFunc(cells, func(c cell) bool { return c.name == region }) {
			fmt.Fprintf(out.stderr, "region %s cannot be compared: KLUIS_REGIONS does not name it\n", region)
			all.Away = append(all.Away, region)
		}
	}
	return all, end, err
}

// errHome says that nothing can be compared, because the home is away.
var errHome = errors.New("the home, whose list says where every workspace is, cannot be reached")

// heedMoves compares a region whose backup was put back with the others, before its logs begin new epochs. When another region cannot be reached now, each
// workspace is compared at its first use.
func (c cell) heedMoves(ctx context.Context, b *base, out outputs) error {
	all, end, err := c.everywhere(ctx, out, c.outside, b)
	defer end()
	if err != nil && !errors.Is(err, errHome) {
		return err
	}
	if err != nil || len(all.Away) > 0 {
		if err := b.Tenancy.Doubt(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out.stdout, "no workspace of this region is served until every other region can be compared: `kluis workspace keep` serves one without that")
	}
	if err != nil || len(all.Regions) < 2 {
		return nil
	}
	found, err := all.Mend(ctx, uuid.Nil)
	printMisplaced(out.stdout, found)
	if err == nil {
		_, err = all.ShareLedgers(ctx, c.name, uuid.Nil)
	}
	return err
}

func printMisplaced(out io.Writer, found []commands.Misplaced) {
	for _, m := range found {
		wrong, do := m.Describe()
		fmt.Fprintf(out, "%s\n  -> %s\n", wrong, do)
	}
}

// placed checks that every workspace is in the one region that the home's list says.
func (d doctor) placed(ctx context.Context, out outputs) error {
	if d.Region != "" {
		return nil
	}
	all, end, err := d.everywhere(ctx, out, d.outside, nil)
	defer end()
	if errors.Is(err, errHome) {
		return nil // the checks of the home have said so
	}
	if err != nil {
		return err
	}
	found, err := all.FindLocked(ctx)
	if errors.Is(err, tenancy.ErrBusy) {
		fmt.Fprintf(out.stdout, "%-5s %-11s %s\n", note, "regions", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, m := range found {
		wrong, do := m.Describe()
		finding{bad, wrong, do}.print(out.stdout, "regions")
	}
	switch {
	case len(found) > 0:
		return fmt.Errorf("%d workspaces are not where the home's list says, or were erased", len(found))
	case len(all.Away) > 0:
		finding{note, fmt.Sprintf("%v could not be compared", all.Away), ""}.print(out.stdout, "regions")
	case len(all.Regions) > 1:
		fine("every workspace is in one of them, where the home's list says").print(out.stdout, "regions")
	}
	return nil
}

// workspaceKeep is `kluis workspace keep`.
type workspaceKeep struct {
	settings
	outside
	Discard bool   `help:"Delete the copies in the other regions. Without this flag they are closed, and stay until a move replaces or this command deletes them."`
	Slug    string `arg:"" help:"The workspace."`
	In      string `arg:"" help:"The region to serve it from."`
}

func (k workspaceKeep) Run(ctx context.Context, out outputs) error {
	all, end, err := k.everywhere(ctx, out, k.outside, nil)
	defer end()
	if err != nil {
		return err
	}
	kept, others, err := all.Keep(ctx, k.Slug, k.In, k.Discard)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stdout, "%s is served from %s\n", k.Slug, kept)
	for _, c := range others {
		is := "closed"
		if k.Discard {
			is = "deleted"
		}
		fmt.Fprintf(out.stdout, "%s: %s\n", is, c)
	}
	return nil
}
