// Package domain is what is true: the states, the events that change them, and the decisions that
// produce events. It is pure: no clock, no SQL, no I/O. Time and identifiers are arguments.
//
// Each noun has a file. In it stand the noun's events (past tense, with their stored names as string
// literals), its state with Apply, which folds an event and cannot fail, and its decisions, which look
// at a state and answer with events or with an *Error. The same Apply serves deciding, projecting,
// rebuilding, time travel and replay.
package domain
