package main

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"
)

// The cases are the lines of testdata/src/a/a.go: those with a `want` comment are reported, the others are not.
func TestSQLCheck(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), analyzer, "a")
}
