package http

import (
	"context"
	"fmt"
	"net/http"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"

	metricsPath = "/metrics"
)

type healthBody struct {
	Status string `json:"status" enum:"ok"`
}

type healthOutput struct{ Body healthBody }

type readyBody struct {
	Status  string            `json:"status" enum:"ok,degraded" doc:"degraded: a region cannot be served, and the others can."`
	Regions map[string]string `json:"regions,omitempty" doc:"Of a server of several regions: ok, or the code of the problem with which requests for workspaces there are answered."`
}

type readyOutput struct{ Body readyBody }

// health registers what a supervisor asks. Liveness touches nothing: a slow database must not get the
// process killed.
func health(a *api) {
	registerPublic(a, operation{
		Method: http.MethodGet, Path: healthPath, ID: "get-health", Tag: "health", Status: http.StatusOK,
		Summary: "Is the process alive?", Access: public,
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{healthBody{"ok"}}, nil
	})

	registerPublic(a, operation{
		Method: http.MethodGet, Path: readyPath, ID: "get-readiness", Tag: "health", Status: http.StatusOK,
		Summary: "Can the process serve requests?", Access: public,
		Description: "A server of several regions says so as long as one of them can be served.",
	}, readiness(a))

	registerPublic(a, operation{
		Method: http.MethodGet, Path: metricsPath, ID: "get-metrics", Tag: "health", Status: http.StatusOK,
		Summary: "The metrics of the process, for Prometheus", Access: public, Produces: telemetry.MediaType,
		Description: "They name no workspace, person or address. Only clients in a loopback, private or link-local network are answered; for others there is nothing here.",
	}, metrics(a))
}

// metrics answers whoever is near. A proxy on the same machine that is not among the trusted ones makes everybody near: see operations.md.
func metrics(a *api) func(context.Context, *struct{}) (*Streamed, error) {
	return func(ctx context.Context, _ *struct{}) (*Streamed, error) {
		if client := clientOf(ctx); !client.IsLoopback() && !client.IsPrivate() && !client.IsLinkLocalUnicast() {
			return nil, newProblem(http.StatusNotFound)
		}
		text, err := telemetry.Text(ctx, a.metricSources()...)
		return &Streamed{a.streamed(false, func(_ context.Context, w *stream) error {
			_, err := w.Write(text)
			return err
		})}, err
	}
}

func (a *api) metricSources() []telemetry.Source {
	if a.Cells != nil {
		return a.Cells.MetricSources()
	}
	return a.MetricSources
}

func readiness(a *api) func(context.Context, *struct{}) (*readyOutput, error) {
	return func(ctx context.Context, _ *struct{}) (*readyOutput, error) {
		if a.stopping.Err() != nil {
			return nil, domain.Refuse(domain.Unavailable, "stopping", "the server is stopping")
		}
		if a.Cells != nil {
			return a.readyCells(ctx)
		}
		if err := a.Ready(ctx); err != nil {
			return nil, notReady(ctx, err)
		}
		return &readyOutput{readyBody{Status: "ok"}}, nil
	}
}

// notReady is what a caller learns of why requests cannot be served.
func notReady(ctx context.Context, err error) error {
	if _, outage := pg.OutageOf(err); outage {
		return fmt.Errorf("not ready: %w", err)
	}
	if _, said := domain.Refusal(err); said {
		return err
	}
	x := exchangeOf(ctx)
	x.log.WarnContext(ctx, "not ready", "request_id", x.id, "error", err.Error())
	return domain.Refuse(domain.Unavailable, "not_ready", "the server is not ready to serve requests")
}
