// Package app puts the program together. It is the one place where the rooms meet. cmd/kluis passes the settings of the operator, and the tests
// of the whole program pass their own.
package app
