// Package domain holds the rules: the states, the events that change them, and the decisions that produce events. The package is pure: no
// clock, no SQL, no I/O. Time and identifiers are arguments.
//
// Each noun has a file with three parts:
//
//   - the events of the noun, in the past tense, with their stored names as string literals;
//   - the state, with Apply, which folds an event into the state and cannot fail;
//   - the decisions, which read a state and return events, or an *Error.
//
// The same Apply serves deciding, projecting, rebuilding, time travel and replay.
package domain
