package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// cell has the settings of one region: its database and its place for blobs, as if it were the only one.
type cell struct {
	region
	settings
	outside
}

// cells gives the cells of the settings, the home first, or only the one that --region names. It opens nothing.
func (s settings) cells(o outside) (all []cell, err error) {
	regions, err := s.regions()
	if err != nil {
		return nil, err
	}
	s.home = regions[0].name
	for _, r := range regions {
		c := cell{region: r, settings: s.at(r)}
		if c.outside, err = o.at(r, s.Data); err != nil {
			return nil, err
		}
		if err := c.checkPlaces(); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(other cell) bool { return other.BlobURL == c.BlobURL }); i >= 0 {
			return nil, usageError{fmt.Errorf("KLUIS_REGIONS: regions %s and %s have the same place for blobs", all[i].name, c.name)}
		}
		all = append(all, c)
	}
	if s.Region == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(c cell) bool { return c.name == strings.ToLower(s.Region) })
	if i < 0 {
		return nil, usageError{fmt.Errorf("--region: KLUIS_REGIONS names no region %s", s.Region)}
	}
	return all[i : i+1], nil
}

// at gives the settings for one region.
func (s settings) at(r region) settings {
	s.Region = r.name
	if !r.first || r.database != "" {
		s.DatabaseURL, s.OwnerURL = r.database, r.owner
	}
	return s
}

// at gives the places outside the database for one region. The default for the blobs of a region other than the home is a folder beside the home's. When the
// home's blobs are in a bucket, the region must name a place of its own, because regions do not share a bucket.
func (o outside) at(r region, data string) (outside, error) {
	if r.first {
		return outside{cmp.Or(r.blobs, o.BlobURL), cmp.Or(r.checkpoints, o.Checkpoints)}, nil
	}
	if r.blobs == "" {
		if o.BlobURL != "" {
			return o, usageError{fmt.Errorf("KLUIS_REGIONS: region %s has no place for blobs: %s.blobs names one", r.name, r.name)}
		}
		folder, err := filepath.Abs(filepath.Join(data, "blobs-"+r.name))
		if err != nil {
			return o, err
		}
		r.blobs = (&url.URL{Scheme: "file", Path: folder}).String()
	}
	return outside{r.blobs, r.checkpoints}, nil
}

// each calls do for each cell, or for the one that --region names. A cell that fails does not stop the others.
func (s settings) each(ctx context.Context, o outside, do func(c cell) error) error {
	all, err := s.cells(o)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range all {
		err := do(c)
		if err != nil && len(all) > 1 {
			err = fmt.Errorf("region %s: %w", c.name, err)
		}
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// eachOr is each, but only for the cell of a workspace when slug names one.
func (s settings) eachOr(ctx context.Context, out outputs, o outside, slug string, do func(c cell) error) error {
	if slug == "" {
		return s.each(ctx, o, do)
	}
	c, err := s.of(ctx, out, o, slug)
	if err != nil {
		return err
	}
	return do(c)
}

// singleCell gives the cell for a command that works on one: the only one, or the one that --region names.
func (s settings) singleCell(o outside) (cell, error) {
	all, err := s.cells(o)
	if err != nil {
		return cell{}, err
	}
	if len(all) > 1 {
		return cell{}, usageError{fmt.Errorf("there are %d regions: name one with --region", len(all))}
	}
	return all[0], nil
}

// of gives the cell of a workspace. When there are several cells, it looks in all that can be reached.
func (s settings) of(ctx context.Context, out outputs, o outside, slug string) (cell, error) {
	all, err := s.cells(o)
	if err != nil {
		return cell{}, err
	}
	if len(all) == 1 {
		return all[0], nil
	}
	var failed []error
	var found []cell
	for _, c := range all {
		err := c.has(ctx, out, slug)
		if err == nil {
			found = append(found, c)
		} else if !errors.Is(err, tenancy.ErrUnknown) {
			failed = append(failed, fmt.Errorf("region %s: %w", c.name, err))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return cell{}, twiceError(slug, found[0].name, found[1].name)
	case len(failed) > 0:
		return cell{}, errors.Join(failed...)
	}
	return cell{}, fmt.Errorf("workspace %q: %w, in any region", slug, tenancy.ErrUnknown)
}

// has is nil when the cell has the workspace.
func (c cell) has(ctx context.Context, out outputs, slug string) error {
	return c.withBase(ctx, out, func(b *base) error {
		_, err := b.Tenancy.BySlug(ctx, slug)
		return err
	})
}

// withBase runs do on the migrated database of the cell, and closes it afterwards.
func (c cell) withBase(ctx context.Context, out outputs, do func(b *base) error) error {
	b, err := c.openMigrated(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	return do(b)
}

// eachBase is each, on the migrated database of each cell.
func (s settings) eachBase(ctx context.Context, out outputs, do func(c cell, b *base) error) error {
	return s.each(ctx, outside{}, func(c cell) error {
		return c.withBase(ctx, out, func(b *base) error { return do(c, b) })
	})
}

// workspaces gives the workspace with a slug, or all workspaces of the database for an empty slug.
func (b *base) workspaces(ctx context.Context, slug string) ([]tenancy.Entry, error) {
	if slug == "" {
		return b.Tenancy.List(ctx, 0)
	}
	one, err := b.Tenancy.BySlug(ctx, slug)
	return []tenancy.Entry{one}, err
}

// end gives the cell as an end of a move or a comparison.
func (c cell) end(ctx context.Context, b *base) (end commands.End, err error) {
	end = commands.End{Region: c.name, DB: b.DB, Tenancy: b.Tenancy, Store: b.Store}
	if end.Blobs, err = c.blobStore(ctx, c.Data); err != nil {
		return end, err
	}
	end.Kept, err = c.kept(ctx, end.Blobs)
	return end, err
}

// openKeyed opens the database of the cell, and loads its keys.
func (c cell) openKeyed(ctx context.Context, out outputs) (*base, *keyring.Keyring, error) {
	keys, err := keyring.Load(c.keysFile(), c.KeysInline)
	if err != nil {
		return nil, nil, err
	}
	b, err := c.openMigrated(ctx, out.stderr)
	if err != nil {
		return nil, nil, err
	}
	if err := b.checkKeys(ctx, keys); err != nil {
		b.close()
		return nil, nil, err
	}
	return b, keys, nil
}

// openWorkspace opens the database of a workspace's cell and finds it there.
func (s settings) openWorkspace(ctx context.Context, out outputs, slug string) (*base, tenancy.Entry, error) {
	c, err := s.of(ctx, out, outside{}, slug)
	if err != nil {
		return nil, tenancy.Entry{}, err
	}
	b, err := c.openMigrated(ctx, out.stderr)
	if err != nil {
		return nil, tenancy.Entry{}, err
	}
	entry, err := b.Tenancy.BySlug(ctx, slug)
	if err != nil {
		b.close()
		return nil, tenancy.Entry{}, err
	}
	return b, entry, nil
}
