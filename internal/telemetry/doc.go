// Package telemetry is what Kluis tells of itself as numbers, in the form of Prometheus (https://prometheus.io/docs/concepts/data_model/).
//
// Every metric stands in this package, so that an operator reads one file, and a test compares the dashboard and the alerts
// with it. No label names a workspace, a person or an address: labels are what the program is made of, and of a bounded number.
//
// It is also where spans are made (OpenTelemetry), for operators who name a collector, and where a library's log is told of the end of the process.
package telemetry
