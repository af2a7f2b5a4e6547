package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/token"
	"github.com/kluis-eu/kluis/projections"
)

// Cell is a region of the process: a database, with a whole program on it.
type Cell struct {
	Region string
	// Open opens the database, and makes the program, which knows the other cells. It is called again until it succeeds.
	Open func(ctx context.Context, cells *Cells) (*Program, error)
}

// Cells are the regions of one process, the home first. A cell that could not be opened has no program yet. All cells serve the same operations, and
// every request goes to the cell of its workspace. Another cell has nothing of a workspace, except that the home's list has its id, slug and region.
type Cells struct {
	log     *slog.Logger
	process telemetry.Source // the gauges of the process itself
	cells   []Cell
	alone   bool // whether there is one cell, and no workspace in another; written before Run

	mu       sync.RWMutex
	programs map[string]*Program // the programs of open cells, by region
	known    sync.Map            // the regions of workspaces, by id
}

// NewCells makes cells, none of which is open yet.
func NewCells(log *slog.Logger, process telemetry.Source, cells ...Cell) *Cells {
	return &Cells{log: log, process: process, cells: cells, programs: map[string]*Program{}}
}

// OpenAll opens all cells that can be opened. It fails when no cell could be opened, or when the error of one is fatal.
func (c *Cells) OpenAll(ctx context.Context, fatal func(error) bool) error {
	failed := make([]error, len(c.cells))
	var opening sync.WaitGroup
	for i, cell := range c.cells {
		opening.Go(func() { failed[i] = c.open(ctx, cell) })
	}
	opening.Wait()
	for _, err := range failed {
		if err != nil && fatal(err) {
			return err
		}
	}
	if !slices.Contains(failed, nil) {
		return errors.Join(failed...)
	}
	for i, err := range failed {
		if err != nil {
			c.log.ErrorContext(ctx, "a region cannot be reached: only its workspaces are unavailable until it can be", "region", c.cells[i].Region, "error", err.Error())
		}
	}
	c.compare(ctx)
	return nil
}

// lookForVanished logs the regions that have workspaces and are not among the settings. A cell is alone when there is no other, and never was.
func (c *Cells) lookForVanished(ctx context.Context, home *tenancy.Tenancy) error {
	regions, err := home.Regions(ctx)
	if err != nil {
		return err
	}
	c.alone = len(c.cells) == 1
	for region, n := range regions {
		if !slices.Contains(c.regions(), region) {
			c.alone = false
			c.log.ErrorContext(ctx, "KLUIS_REGIONS does not name a region that has workspaces: these are unavailable until it does", "region", region, "workspaces", n)
		}
	}
	return nil
}

// regions gives the names of all cells.
func (c *Cells) regions() []string {
	names := make([]string, len(c.cells))
	for i, cell := range c.cells {
		names[i] = cell.Region
	}
	return names
}

func (c *Cells) open(ctx context.Context, cell Cell) error {
	p, err := cell.Open(ctx, c)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.programs[cell.Region] = p
	return nil
}

// join connects a program that is being made with the other cells.
func (c *Cells) join(ctx context.Context, b *Base, given *Given) error {
	if given.Commands.Region == c.cells[0].Region {
		if err := c.lookForVanished(ctx, b.Tenancy); err != nil {
			return err
		}
		if c.alone {
			given.HTTP.MetricSources = append(given.HTTP.MetricSources, c.process)
			return nil
		}
		given.HTTP.Cells, given.Commands.OnlyHere = c, c.onlyIn(given.Commands.Region)
		return nil
	}
	given.HTTP.Cells, given.Commands.OnlyHere = c, c.onlyIn(given.Commands.Region)
	b.Tenancy.Home = func() (*tenancy.Tenancy, error) {
		home, err := c.Home()
		if err != nil {
			return nil, err
		}
		return home.Tenancy, nil
	}
	given.Commands.Home = func() (*commands.Commands, error) {
		home, err := c.Home()
		if err != nil {
			return nil, err
		}
		return home.Commands, nil
	}
	return nil
}

// Run serves until ctx ends, as Program.Run does. It opens the cells that are not open as soon as it can.
func (c *Cells) Run(ctx context.Context, listener net.Listener, background bool) error {
	if c.alone {
		p, err := c.Home()
		if err != nil {
			return err
		}
		return p.Run(ctx, listener, background)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return http.ServeCells(ctx, listener, c, http.Options{Log: c.log}) })
	for _, cell := range c.cells {
		group.Go(func() error {
			if !c.opened(ctx, cell) {
				return nil
			}
			p, _ := c.program(cell.Region)
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return p.beside(ctx, background) })
			group.Go(func() error { return c.settle(ctx, p) })
			return group.Wait()
		})
	}
	err := group.Wait()
	var ending sync.WaitGroup // now that no request is under way
	for _, cell := range c.cells {
		if p, missing := c.program(cell.Region); missing == nil {
			ending.Go(p.Commands.Wait)
		}
	}
	ending.Wait()
	return err
}

// longestPause is the longest pause between two tries to open a cell.
const longestPause = 30 * time.Second

// opened waits until a cell is open; false at the end of ctx.
func (c *Cells) opened(ctx context.Context, cell Cell) bool {
	for pause := time.Second; ; pause = min(2*pause, longestPause) {
		if _, err := c.program(cell.Region); err == nil {
			return true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
		if err := c.open(ctx, cell); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "a region still cannot be opened", "region", cell.Region, "error", err.Error())
		} else if err == nil {
			c.log.InfoContext(ctx, "a region is open", "region", cell.Region)
		}
	}
}

// settleEvery is how often the home's list is brought in line with a cell. With several cells, the first pause is settleSoon, and each further one twice as
// long, because a cell may learn what it has to delete only after another cell has told the home. The pauses begin anew when another database answers.
const (
	settleSoon  = 3 * time.Second
	settleEvery = 10 * time.Minute
)

func (c *Cells) settle(ctx context.Context, p *Program) error {
	pause := settleSoon
	if len(c.cells) == 1 {
		pause = settleEvery
	}
	for ; ; pause = min(2*pause, settleEvery) {
		changed := p.DB.Changed()
		if err := p.Commands.Settle(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "the home's list of workspaces could not be compared with a region", "error", err.Error())
		}
		c.compare(ctx)
		select {
		case <-time.After(pause):
		case <-changed: // by a failover, which is like a start
			pause = settleSoon / 2
		case <-ctx.Done():
			return nil
		}
	}
}

// unavailable says that a cell cannot be reached, or that the settings do not name its region any more.
func unavailable() error {
	refusal := domain.Refuse(domain.Unavailable, "region_unavailable", "the region of the workspace cannot be reached at the moment")
	refusal.RetryAfter = 5 * time.Second
	return refusal
}

// movedCode is the code of Moved.
const movedCode = "workspace_moved"

// Moved says that a workspace is not here any more, or not yet. The same request, sent again, goes to the right cell.
func Moved() error {
	refusal := domain.Refuse(domain.Unavailable, "workspace_moved", "the workspace moves to another region: ask again")
	refusal.RetryAfter = time.Second
	return refusal
}

// authenticated forgets the region of a workspace that turns out to have moved.
func (c *Cells) authenticated(ask func(context.Context, string) (projections.Actor, error)) func(context.Context, string) (projections.Actor, error) {
	return func(ctx context.Context, bearer string) (projections.Actor, error) {
		actor, err := ask(ctx, bearer)
		if refusal, is := domain.Refusal(err); is && refusal.Code == movedCode {
			if shown, err := token.Parse(bearer); err == nil {
				c.known.Delete(shown.Workspace)
			}
		}
		return actor, err
	}
}

// program gives the program of a region.
func (c *Cells) program(region string) (*Program, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p := c.programs[region]; p != nil {
		return p, nil
	}
	return nil, unavailable()
}

// Home gives the program of the home's cell.
func (c *Cells) Home() (*Program, error) { return c.program(c.cells[0].Region) }

// Open implements http.Cells.
func (c *Cells) Open() (servers []*http.Server) {
	for _, cell := range c.cells {
		if p, err := c.program(cell.Region); err == nil {
			servers = append(servers, p.Server)
		}
	}
	return servers
}

// In implements http.Cells.
func (c *Cells) In(region string) (*http.Server, error) {
	if region == "" {
		return c.server(c.Home())
	}
	if !slices.Contains(c.regions(), region) {
		return nil, domain.InvalidField("/region", "must be one of %s", strings.Join(c.regions(), ", "))
	}
	return c.server(c.program(region))
}

func (c *Cells) server(p *Program, err error) (*http.Server, error) {
	if err != nil {
		return nil, err
	}
	return p.Server, nil
}

// OfToken implements http.Cells.
func (c *Cells) OfToken(ctx context.Context, bearer string) (*http.Server, error) {
	shown, err := token.Parse(bearer)
	if err != nil {
		return c.Open()[0], nil //nolint:nilerr // any server refuses the token
	}
	id := shown.Workspace
	if region, known := c.known.Load(id); known {
		return c.server(c.program(region.(string)))
	}
	region, err := c.regionOf(ctx, id, "")
	if err != nil {
		return nil, err
	}
	p, err := c.found(region)
	if err != nil || region == "" {
		return c.server(p, err)
	}
	if there, _, err := c.statusIn(ctx, p, id, ""); err == nil && !there {
		return c.server(p, c.missing(ctx, id, ""))
	}
	c.known.Store(id, region)
	return p.Server, nil
}

// OfSlug implements http.Cells.
func (c *Cells) OfSlug(ctx context.Context, slug string) (*http.Server, error) {
	slug = commands.Slug(slug)
	region, err := c.regionOf(ctx, uuid.Nil, slug)
	if err != nil {
		return nil, err
	}
	p, err := c.found(region)
	if err != nil {
		return nil, err
	}
	there, moving, err := c.statusIn(ctx, p, uuid.Nil, slug)
	switch {
	case err == nil && moving:
		return nil, Moved()
	case err == nil && !there && region != "":
		return c.server(p, c.missing(ctx, uuid.Nil, slug))
	}
	return p.Server, nil // when its database is away, the server says so
}

func (c *Cells) found(region string) (*Program, error) {
	if region == "" {
		return c.Home()
	}
	return c.program(region)
}

// OfSignup implements http.Cells. It asks all cells, because only the cell of a sign-up knows it.
func (c *Cells) OfSignup(ctx context.Context, id uuid.UUID) (*http.Server, error) {
	var failed error
	for _, cell := range c.cells {
		p, err := c.program(cell.Region)
		if err == nil {
			var waits bool
			if waits, err = asked(ctx, func(ctx context.Context) (bool, error) { return p.Commands.HasSignup(ctx, id) }); waits {
				return p.Server, nil
			}
		}
		if err != nil {
			failed = unavailable()
		}
	}
	if failed != nil {
		return nil, failed
	}
	return c.In("")
}

// lookPatience limits how long a cell may take to look up a workspace.
const lookPatience = 2 * time.Second

func asked[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return ask(ctx)
}

// regionOf finds the region of a workspace in the home's list; "" when no region has it. While the home cannot be reached, it looks in every other cell.
func (c *Cells) regionOf(ctx context.Context, id uuid.UUID, slug string) (region string, err error) {
	home, err := c.Home()
	if err == nil {
		region, err = asked(ctx, func(ctx context.Context) (string, error) { return home.Tenancy.RegionOf(ctx, id, slug) })
	}
	if errors.Is(err, tenancy.ErrUnknown) {
		return "", nil
	}
	if err == nil {
		return region, nil
	}
	for _, cell := range c.cells[1:] {
		p, err := c.program(cell.Region)
		if err != nil {
			continue
		}
		if there, err := asked(ctx, func(ctx context.Context) (bool, error) { return p.Tenancy.Has(ctx, id, slug) }); err == nil && there {
			return cell.Region, nil
		}
	}
	return "", unavailable()
}

// Ready implements http.Cells.
func (c *Cells) Ready(ctx context.Context) []http.Readiness {
	states := make([]http.Readiness, len(c.cells))
	var asking sync.WaitGroup
	for i, cell := range c.cells {
		asking.Go(func() {
			p, err := c.program(cell.Region)
			if err == nil {
				err = p.ready(ctx)
			}
			states[i] = http.Readiness{Region: cell.Region, Err: err}
		})
	}
	asking.Wait()
	return states
}

// MetricSources implements http.Cells.
func (c *Cells) MetricSources() []telemetry.Source {
	sources := []telemetry.Source{c.process}
	for _, cell := range c.cells {
		p, err := c.program(cell.Region)
		if err != nil {
			sources = append(sources, telemetry.Source{Region: cell.Region, Gauges: func(context.Context) ([]telemetry.Gauge, error) { return nil, err }})
			continue
		}
		for _, source := range p.sources {
			sources = append(sources, telemetry.Source{Region: cell.Region, Gauges: source.Gauges})
		}
	}
	return sources
}
