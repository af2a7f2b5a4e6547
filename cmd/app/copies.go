package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// A restore may bring a workspace back in one cell while another cell has it, too: see commands/copy.go.

// installation gives all regions, as far as this process reaches them.
func (c *Cells) installation(ctx context.Context) (all commands.Installation, err error) {
	home, err := c.Home()
	if err != nil {
		return all, err
	}
	for _, cell := range c.cells {
		p, err := c.program(cell.Region)
		if err == nil {
			err = p.DB.Ready(ctx)
		}
		if err != nil && cell.Region == c.cells[0].Region {
			return all, err
		}
		if err != nil {
			all.Away = append(all.Away, cell.Region)
			continue
		}
		all.Regions = append(all.Regions, commands.End{Region: cell.Region, DB: p.DB, Tenancy: p.Tenancy, Store: p.Store, Blobs: p.Commands.Blobs, Kept: p.Commands.Kept})
		all.Keys = p.Commands.Keys.PublicKeys()
	}
	regions, err := home.Tenancy.Regions(ctx)
	for region := range regions {
		if !slices.Contains(c.regions(), region) {
			all.Away = append(all.Away, region)
		}
	}
	return all, err
}

// comparePatience limits how long a start waits for the comparison of the regions.
const comparePatience = 30 * time.Second

// compare mends all misplaced workspaces, and logs them.
func (c *Cells) compare(ctx context.Context) {
	if c.alone {
		return
	}
	limited, cancel := context.WithTimeout(ctx, comparePatience)
	defer cancel()
	all, err := c.installation(limited)
	var found []commands.Misplaced
	if err == nil {
		found, err = all.Mend(limited, uuid.Nil)
	}
	for _, m := range found {
		c.known.Delete(m.ID)
		wrong, do := m.Describe()
		c.log.ErrorContext(ctx, wrong, "workspace", m.ID, "do", do)
	}
	if err != nil && !errors.Is(err, tenancy.ErrBusy) && ctx.Err() == nil {
		c.log.WarnContext(ctx, "the regions could not be compared: after a restore, one may have workspaces of another", "error", err.Error())
	}
}

// onlyIn refuses a workspace after a restore of its cell's database, unless no other region has it, too.
func (c *Cells) onlyIn(region string) func(context.Context, pg.Workspace) error {
	return func(ctx context.Context, w pg.Workspace) error {
		all, err := c.installation(ctx)
		if err != nil {
			return errors.Join(unavailable(), err)
		}
		if len(all.Away) > 0 {
			return unavailable()
		}
		found, err := all.Mend(ctx, w.ID)
		if err != nil {
			return errors.Join(Moved(), err)
		}
		for _, m := range found {
			if m.Right != region {
				c.known.Delete(w.ID)
				return Moved()
			}
		}
		erased, err := all.ShareLedgers(ctx, region, w.ID)
		if err == nil && erased {
			var p *Program
			if p, err = c.program(region); err == nil {
				err = p.Commands.ReadLedger(ctx)
			}
		}
		if err != nil {
			return errors.Join(unavailable(), err)
		}
		return nil
	}
}

// statusIn tells whether a cell has a workspace, and whether the workspace is moving.
func (c *Cells) statusIn(ctx context.Context, p *Program, id uuid.UUID, slug string) (there, moving bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return p.Tenancy.Traces(ctx, id, slug)
}

// missing refuses a request for a workspace that should be in a cell and is not, because an older backup was put back. The owner of a token must not
// believe that the token has ended. missing is nil for an erased workspace, and for a sign-up.
func (c *Cells) missing(ctx context.Context, id uuid.UUID, slug string) error {
	home, err := c.Home()
	if err != nil {
		return err
	}
	expected, err := asked(ctx, func(ctx context.Context) (bool, error) { return home.Tenancy.Expects(ctx, id, slug) })
	if err != nil || !expected {
		return err
	}
	refusal := domain.Refuse(domain.Unavailable, "workspace_missing", "the workspace is missing from its region: the operator of Kluis has put back a backup from before it moved there")
	refusal.RetryAfter = time.Minute
	return refusal
}
