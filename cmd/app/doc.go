// Package app puts the program together: the one place where the rooms meet. cmd/kluis gives it what the operator has set, and
// the tests of the whole program what a test wants.
package app
