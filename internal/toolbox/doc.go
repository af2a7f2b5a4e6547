// Package toolbox has programs of others that tests run: built from the Go proxy into .cache/bin by the first test that needs one; and where
// they can listen.
package toolbox
