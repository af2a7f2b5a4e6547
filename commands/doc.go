// Package commands is what may be done: load, decide, append, and again when something that the decision read has moved.
//
// That loop exists once, in change (change.go). A command decides on the read models as they are, and its append guards what the decision
// read. A command refuses only on read models that are fresh.
package commands
