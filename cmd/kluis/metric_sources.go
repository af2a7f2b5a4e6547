package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// metricSources gives the gauges of a database, for a scrape of the metrics.
func (b *base) metricSources() []telemetry.Source {
	return []telemetry.Source{{Gauges: b.own}, {Gauges: b.shared}}
}

// ofProcess gives the gauges of the process itself.
func ofProcess(hasher *password.Hasher) telemetry.Source {
	return telemetry.Source{Gauges: func(context.Context) ([]telemetry.Gauge, error) {
		running, waiting := hasher.Load()
		return []telemetry.Gauge{
			{Name: "kluis_build_info", Help: "1, with the version.", Labels: prometheus.Labels{"version": version}, Value: 1},
			{Name: "kluis_password_hashes", Help: "Password hashes that run, and that wait for a slot.", Labels: prometheus.Labels{"state": "running"}, Value: float64(running)},
			{Name: "kluis_password_hashes", Help: "Password hashes that run, and that wait for a slot.", Labels: prometheus.Labels{"state": "waiting"}, Value: float64(waiting)},
		}, nil
	}}
}

// own gives the gauges of this process' connections.
func (b *base) own(context.Context) ([]telemetry.Gauge, error) {
	pool := b.DB.Stat()
	return []telemetry.Gauge{
		{Name: "kluis_pool_connections", Help: "Connections to the database.", Labels: prometheus.Labels{"state": "used"}, Value: float64(pool.Used)},
		{Name: "kluis_pool_connections", Help: "Connections to the database.", Labels: prometheus.Labels{"state": "idle"}, Value: float64(pool.Idle)},
		{Name: "kluis_pool_connections_max", Help: "The largest number of connections.", Value: float64(pool.Max)},
		{Name: "kluis_pool_waits", Help: "Transactions that waited for a connection since the start.", Value: float64(pool.Waits)},
		{Name: "kluis_pool_wait_seconds", Help: "How long these transactions waited in total.", Value: pool.Waited.Seconds()},
	}, nil
}

// shared gives the gauges of the control schema, which all processes share.
func (b *base) shared(ctx context.Context) (found []telemetry.Gauge, err error) {
	err = b.DB.Control(ctx, func(tx pgx.Tx) error {
		for _, look := range []struct{ name, help, label, sql string }{
			{"kluis_workspaces", "Workspaces, by status.", "status", `select status, count(*)::float from kluis.workspace group by status`},
			{"kluis_workspaces_failing", "Workspaces whose background work failed and is left alone for a while.", "", `select '', count(distinct workspace_id)::float from kluis.signal where attempts > 0`},
			{"kluis_signals_waiting", "Workspaces with events that the background has not handled.", "", `select '', count(distinct workspace_id)::float from kluis.signal`},
			{"kluis_jobs", "Jobs that are not done, by state.", "state", `select state::text, count(*)::float from kluis_jobs.river_job where finalized_at is null group by state`},
		} {
			rows, _ := tx.Query(ctx, look.sql)
			_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (none struct{}, err error) {
				var label string
				g := telemetry.Gauge{Name: look.name, Help: look.help}
				if err = row.Scan(&label, &g.Value); look.label != "" {
					g.Labels = prometheus.Labels{look.label: label}
				}
				found = append(found, g)
				return none, err
			})
			if err != nil {
				return fmt.Errorf("look up %s: %w", look.name, err)
			}
		}
		return nil
	})
	return found, err
}
