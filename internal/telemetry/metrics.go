package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// registry has the metrics of this process, and nothing that a library registers by itself.
var registry = prometheus.NewRegistry()

var factory = promauto.With(registry)

func init() {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Requests, as clients notice them.
var (
	// Requests counts answers, by the operation's method and route, and the status.
	Requests = factory.NewCounterVec(prometheus.CounterOpts{
		Name: "kluis_http_requests_total", Help: "Requests answered, by method, route and status.",
	}, []string{"method", "route", "status"})

	// RequestSeconds is how long answers take, without streams.
	RequestSeconds = factory.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kluis_http_request_seconds", Help: "Time from a request to the end of its answer in seconds, streams excepted, by method and route.",
		Buckets: []float64{.005, .02, .1, .5, 2, 10},
	}, []string{"method", "route"})

	// Streams is how many answers without an end are being written: replay with follow=true.
	Streams = factory.NewGauge(prometheus.GaugeOpts{Name: "kluis_http_streams", Help: "Streams that are being followed."})
)

// Commands.
var (
	// Commands counts commands by outcome: done, nothing (they changed nothing), repeated (by an Idempotency-Key), refused, failed.
	Commands = factory.NewCounterVec(prometheus.CounterOpts{
		Name: "kluis_commands_total", Help: "Commands, by outcome: done, nothing, repeated, refused, failed.",
	}, []string{"outcome"})

	// Retries counts decisions that were made once more, because a stream that they relied on had moved.
	Retries = factory.NewCounter(prometheus.CounterOpts{
		Name: "kluis_command_retries_total", Help: "Decisions made once more, because what they relied on had moved or was not fresh.",
	})
)

// The log and the read models.
var (
	// Appended counts events, and BatchAppends is how many commands one transaction stores.
	Appended     = factory.NewCounter(prometheus.CounterOpts{Name: "kluis_events_appended_total", Help: "Events stored."})
	BatchAppends = factory.NewHistogram(prometheus.HistogramOpts{
		Name: "kluis_append_batch", Help: "Appends stored in one transaction.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
	})

	// Folded counts events that were folded into read models. FoldLag is how old the oldest event of a page is when the page is visible.
	Folded  = factory.NewCounter(prometheus.CounterOpts{Name: "kluis_events_folded_total", Help: "Events folded into the read models."})
	FoldLag = factory.NewHistogram(prometheus.HistogramOpts{
		Name: "kluis_fold_lag_seconds", Help: "Age of the oldest event of a page in seconds, by the clocks of the database and of this process, when the page is in the read models.",
		Buckets: []float64{.005, .02, .1, .5, 2, 10, 60, 600},
	})
)

// Deliveries to receivers. kind is the kind of the receiver: webhook, siem_https, siem_syslog or nats.
var (
	// Delivered counts events that receivers took. DeliveryFailures counts attempts that failed.
	Delivered        = factory.NewCounterVec(prometheus.CounterOpts{Name: "kluis_deliveries_total", Help: "Events that receivers took, by kind of receiver."}, []string{"kind"})
	DeliveryFailures = factory.NewCounterVec(prometheus.CounterOpts{Name: "kluis_delivery_failures_total", Help: "Attempts to deliver that failed, by kind of receiver."}, []string{"kind"})

	// DeliveryLag is how old the first event of a batch is when the receiver has taken it.
	DeliveryLag = factory.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kluis_delivery_lag_seconds", Help: "Age of the first event of a batch in seconds, by the clocks of the database and of this process, when a receiver has taken it.",
		Buckets: []float64{.005, .02, .1, .5, 2, 10, 60, 600, 3600},
	}, []string{"kind"})

	// Deliveries is how many receivers this process delivers to.
	Deliveries = factory.NewGauge(prometheus.GaugeOpts{Name: "kluis_deliveries", Help: "Receivers that this process delivers to at the moment, those whose next event it waits for among them."})
)

// Cosignatures of witnesses (C2SP tlog-witness). witness is the name of the witness' key.
var (
	// Cosigned counts checkpoints that witnesses have cosigned. WitnessFailures counts attempts that gave no cosignature.
	Cosigned        = factory.NewCounterVec(prometheus.CounterOpts{Name: "kluis_witness_cosigned_total", Help: "Checkpoints that a witness has cosigned, by witness."}, []string{"witness"})
	WitnessFailures = factory.NewCounterVec(prometheus.CounterOpts{Name: "kluis_witness_failures_total", Help: "Attempts that gave no cosignature, by witness."}, []string{"witness"})

	// WitnessWaiting is how many workspaces wait for a witness. WitnessWentBack is how many have another log than the one that it has cosigned.
	WitnessWaiting  = factory.NewGaugeVec(prometheus.GaugeOpts{Name: "kluis_witness_waiting", Help: "Workspaces whose newest kept checkpoint a witness has not cosigned yet, by witness."}, []string{"witness"})
	WitnessWentBack = factory.NewGaugeVec(prometheus.GaugeOpts{Name: "kluis_witness_logs_gone_back", Help: "Workspaces of whose log a witness has cosigned more than there is, or something else, by witness."}, []string{"witness"})

	// WitnessesWanted is how many witnesses have to cosign a checkpoint. CosignedByFew is how many workspaces have fewer.
	WitnessesWanted = factory.NewGauge(prometheus.GaugeOpts{Name: "kluis_cosignatures_wanted", Help: "By how many witnesses a checkpoint is to be cosigned."})
	CosignedByFew   = factory.NewGauge(prometheus.GaugeOpts{Name: "kluis_cosignatures_missing", Help: "Workspaces whose newest kept checkpoint fewer witnesses have cosigned than are wanted."})
)

func init() { // so that a kind without any delivery yet is 0, and not absent
	for _, kind := range []string{"webhook", "siem_https", "siem_syslog", "nats"} {
		Delivered.WithLabelValues(kind)
		DeliveryFailures.WithLabelValues(kind)
		DeliveryLag.WithLabelValues(kind)
	}
}
