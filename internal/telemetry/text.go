package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// patience is how long a scrape waits for the database. Without an answer its metrics are absent, and kluis_up is 0.
const patience = time.Second

// MediaType is the media type of Text: the text format of Prometheus, version 0.0.4.
const MediaType = string(expfmt.FmtText)

// Gauge is a number that is looked up for each scrape.
type Gauge struct {
	Name, Help string
	Labels     prometheus.Labels
	Value      float64
}

// Source finds numbers as they are now. When it fails, they are left out.
type Source struct {
	Region string // a label of the numbers, when a process serves several regions
	Gauges func(ctx context.Context) ([]Gauge, error)
}

// Text is a scrape: the metrics of the process, and those of the sources.
func Text(ctx context.Context, sources ...Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := prometheus.NewRegistry()
	found.MustRegister(collected(gatherAll(ctx, sources)))
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

// gatherAll asks all sources at once, so that a region that does not answer delays no other one.
func gatherAll(ctx context.Context, sources []Source) (all []Gauge) {
	found, failed := make([][]Gauge, len(sources)), make([]error, len(sources))
	var asking sync.WaitGroup
	for i, source := range sources {
		asking.Go(func() { found[i], failed[i] = source.Gauges(ctx) })
	}
	asking.Wait()
	up := map[string]float64{}
	for i, source := range sources {
		if _, seen := up[source.Region]; !seen {
			up[source.Region] = 1
		}
		if failed[i] != nil {
			up[source.Region] = 0
		}
		for _, gauge := range found[i] {
			all = append(all, gauge.of(source.Region))
		}
	}
	switch {
	case len(sources) == 0:
		up[""] = 1
	case len(up) > 1: // the process itself answers by this scrape
		delete(up, "")
	}
	for region, value := range up {
		all = append(all, Gauge{Name: "kluis_up", Help: "Whether the database answered this scrape.", Value: value}.of(region))
	}
	return all
}

// of returns the gauge with the label of a region.
func (g Gauge) of(region string) Gauge {
	if region != "" {
		labels := prometheus.Labels{"region": region}
		maps.Copy(labels, g.Labels)
		g.Labels = labels
	}
	return g
}

// collected is a prometheus.Collector of what was found. It is unchecked, since its metrics are not known before.
type collected []Gauge

func (collected) Describe(chan<- *prometheus.Desc) {}

func (c collected) Collect(into chan<- prometheus.Metric) {
	for _, g := range c {
		into <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Help, nil, g.Labels), prometheus.GaugeValue, g.Value)
	}
}
