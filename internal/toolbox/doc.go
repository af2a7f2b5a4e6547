// Package toolbox has programs that tests run. The first test that needs one builds it into .cache/bin, with modules from the Go proxy. It also finds
// addresses on which they can listen.
package toolbox
