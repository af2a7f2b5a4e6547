package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// patience is how long a scrape waits for what the database knows. Without an answer those metrics are absent, and kluis_up is 0.
const patience = time.Second

// MediaType is what Text is in: the text format of Prometheus, version 0.0.4.
const MediaType = string(expfmt.FmtText)

// Gauge is a number that is looked up when it is asked for.
type Gauge struct {
	Name, Help string
	Labels     prometheus.Labels
	Value      float64
}

// Look gives numbers as they are now. After an error they are left out.
type Look func(ctx context.Context) ([]Gauge, error)

// Text is a scrape: the metrics of the process, and what looks find.
func Text(ctx context.Context, looks ...Look) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := prometheus.NewRegistry()
	found.MustRegister(collected(lookAll(ctx, looks)))
	families, err := prometheus.Gatherers{registry, found}.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather the metrics: %w", err)
	}
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.FmtText)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, fmt.Errorf("write the metrics: %w", err)
		}
	}
	return text.Bytes(), nil
}

func lookAll(ctx context.Context, looks []Look) (all []Gauge) {
	up := 1.0
	for _, look := range looks {
		gauges, err := look(ctx)
		if err != nil {
			up = 0
		}
		all = append(all, gauges...)
	}
	return append(all, Gauge{Name: "kluis_up", Help: "Whether the database answered this scrape.", Value: up})
}

// collected makes a prometheus.Collector of what was found. Which metrics there are is not known before, so it is unchecked.
type collected []Gauge

func (collected) Describe(chan<- *prometheus.Desc) {}

func (c collected) Collect(into chan<- prometheus.Metric) {
	for _, g := range c {
		into <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Help, nil, g.Labels), prometheus.GaugeValue, g.Value)
	}
}
