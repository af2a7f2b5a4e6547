// Kluis is a work-management backend in which every change is an event, and the event log is the audit history. This is its one program: see README.md.
//
// main.go has the list of commands, settings.go the settings that they share, and app.go the database that they open. Each command has a file.
package main
