// Package promises holds the tests of what the whole program promises, a file a promise: they ask whole processes over
// HTTP, several on one database where the promise says so, and look into the database at what a request left there.
// The files that do not end in _test.go are what the promises share: processes, people, the schema to check every
// answer with, a sample of each noun, and the oracle that judges a log.
package promises
