// Package commands is what may be done: load, decide, append, and once more when what was read has moved.
//
// That loop exists once, in change (change.go). A command decides on the read models as they are and
// guards what it read; it refuses only on what is fresh.
package commands
