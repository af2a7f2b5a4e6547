package http

import (
	"context"
	"net"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/telemetry"
)

// Cells are the regions that a process serves: each has a server of its own, with the same operations. Errors are refusals: the cell
// cannot be reached, or there is none of that name.
type Cells interface {
	// Open gives the servers of the cells that are open, the home's first if it is: one at least. What is no workspace's, any of them answers.
	Open() []*Server
	// In gives the server of a region; of the home when no region is named.
	In(region string) (*Server, error)

	// OfToken, OfSlug and OfSignup give the server of the cell where a workspace is, or a sign-up waits. What is nowhere is answered by
	// the home, as anything that there is not.
	OfToken(ctx context.Context, bearer string) (*Server, error)
	OfSlug(ctx context.Context, slug string) (*Server, error)
	OfSignup(ctx context.Context, id uuid.UUID) (*Server, error)

	// Ready tells of each region whether its requests can be served.
	Ready(ctx context.Context) []Readiness
	// MetricSources are what a scrape of the metrics shows of all regions.
	MetricSources() []telemetry.Source
}

// Readiness is whether the requests of a region can be served: the error is nil, or why not.
type Readiness struct {
	Region string
	Err    error
}

// ServeCells serves several regions on one listener, as Server.Serve does for one.
func ServeCells(ctx context.Context, l net.Listener, cells Cells, o Options) error {
	return serveUntil(ctx, l, cellRouter{cells}, o, func() {
		for _, s := range cells.Open() {
			s.api.stop()
		}
	})
}

// cellRouter passes a request to the cell of the workspace that the token names.
type cellRouter struct{ cells Cells }

type astrayKey struct{}

// ServeHTTP passes a request on whose cell cannot be reached, too: only what needs the token fails for that, and log-in and health do not.
func (f cellRouter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server := f.cells.Open()[0]
	if text, ok := bearer(r.Header); ok {
		of, err := f.cells.OfToken(r.Context(), text)
		if err == nil {
			server = of
		} else {
			r = r.WithContext(context.WithValue(r.Context(), astrayKey{}, err))
		}
	}
	server.handler.ServeHTTP(w, r)
}

// wrongCell gives the reason why a request did not reach the cell of its token; nil when it did.
func wrongCell(ctx context.Context) error {
	err, _ := ctx.Value(astrayKey{}).(error)
	return err
}

// The cells of what comes without a token, for its handlers.

func (a *api) ofSlug(ctx context.Context, slug string) (*api, error) {
	return a.elsewhere(func(c Cells) (*Server, error) { return c.OfSlug(ctx, slug) })
}

func (a *api) ofSignup(ctx context.Context, id uuid.UUID) (*api, error) {
	return a.elsewhere(func(c Cells) (*Server, error) { return c.OfSignup(ctx, id) })
}

func (a *api) inRegion(name string) (*api, error) {
	return a.elsewhere(func(c Cells) (*Server, error) { return c.In(name) })
}

func (a *api) elsewhere(find func(Cells) (*Server, error)) (*api, error) {
	if a.Cells == nil {
		return a, nil
	}
	s, err := find(a.Cells)
	if err != nil {
		return nil, err
	}
	return s.api, nil
}

// readyCells is the readiness of several regions: a process serves as long as one of them can be served.
func (a *api) readyCells(ctx context.Context) (*readyOutput, error) {
	states := a.Cells.Ready(ctx)
	out := &readyOutput{readyBody{Status: "ok", Regions: map[string]string{}}}
	served := 0
	for _, r := range states {
		out.Body.Regions[r.Region] = "ok"
		if r.Err == nil {
			served++
			continue
		}
		out.Body.Status, out.Body.Regions[r.Region] = "degraded", problemOf(ctx, notReady(ctx, r.Err)).Code
	}
	if served == 0 {
		return nil, notReady(ctx, states[0].Err)
	}
	return out, nil
}
