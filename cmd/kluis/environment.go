package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// checkEnvironment looks for variables that begin with KLUIS_ and are no settings. A variable that is a few letters off a setting is a wrong use: the
// slip would leave that setting, perhaps one of security, at its default. Any other variable is only named on stderr, because it may be a setting of a newer
// kluis, and Kubernetes sets some (KLUIS_PORT) beside a service named kluis.
func checkEnvironment(app *kong.Application, environ []string, stderr io.Writer) error {
	known := settingsOf(app)
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "KLUIS_") || known[name] {
			continue
		}
		for _, meant := range slices.Sorted(maps.Keys(known)) {
			if distance(name, meant) <= slips(meant) {
				return usageError{fmt.Errorf("%s: there is no such setting; did you mean %s? (see kluis serve --help)", name, meant)}
			}
		}
		fmt.Fprintf(stderr, "kluis: %s is no setting, and is ignored (see kluis serve --help)\n", name)
	}
	return nil
}

// settingsOf gives the names of all settings, of all commands.
func settingsOf(app *kong.Application) map[string]bool {
	known := map[string]bool{}
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // the function gives no error
		if flag, ok := node.(*kong.Flag); ok {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
		return next(nil)
	})
	return known
}

// slips is how many letters a name may differ from a setting to be taken for a slip: one for a short setting, three for a long one.
func slips(setting string) int { return min(1+(len(setting)-len("KLUIS_"))/5, 3) }

// distance is how many letters must be inserted, deleted or replaced to turn a into b (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // the distances from the read part of a to each prefix of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			exchanged := before
			if a[i] != b[j] {
				exchanged++
			}
			before = row[j+1]
			row[j+1] = min(exchanged, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
