// Package telemetry has what Kluis tells of itself: metrics in the format of Prometheus (https://prometheus.io/docs/concepts/data_model/),
// and spans (OpenTelemetry) for operators who name a collector. It also tells the log of a library that the process is ending.
//
// Every metric is declared in this package, so that an operator reads one file, and a test compares the dashboard and the alerts
// with it. No label names a workspace, a person or an address: labels name parts of the program, and are of a bounded number.
package telemetry
