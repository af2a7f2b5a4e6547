// Kluis is a work-management backend in which every change is an event and the event log is the audit
// history. This is its one program: see README.md.
//
// main.go says which commands there are, settings.go what they can be told, app.go what they stand on;
// each command has a file.
package main
