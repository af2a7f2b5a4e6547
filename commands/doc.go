// Package commands carries out what members ask for. A command loads, decides and appends. When a stream that the decision read has moved, the
// command begins again.
//
// That loop exists once, in change (change.go). A command decides on the read models as they are, and its append guards what the decision
// read. A command refuses only on read models that are fresh.
package commands
