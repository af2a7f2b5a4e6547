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
		text, err := telemetry.Text(ctx, a.Looks...)
		return &Streamed{a.streamed(false, func(_ context.Context, w *stream) error {
			_, err := w.Write(text)
			return err
		})}, err
	}
}

func readiness(a *api) func(context.Context, *struct{}) (*healthOutput, error) {
	return func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		if a.stopping.Err() != nil {
			return nil, domain.Refuse(domain.Unavailable, "stopping", "the server is stopping")
		}
		err := a.Ready(ctx)
		if _, outage := pg.OutageOf(err); outage {
			return nil, fmt.Errorf("not ready: %w", err)
		}
		if err != nil {
			x := exchangeOf(ctx)
			x.log.WarnContext(ctx, "not ready", "request_id", x.id, "error", err.Error())
			return nil, domain.Refuse(domain.Unavailable, "not_ready", "the server is not ready to serve requests")
		}
		return &healthOutput{healthBody{"ok"}}, nil
	}
}
