package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// checkEnvironment looks for what begins as a setting and is none. One letter off a setting that there is, it is a slip
// that would leave the setting at its default in silence, perhaps one of security: a wrong use. Anything else is named on
// stderr and no more, since a name may be of a newer kluis, and Kubernetes sets some (KLUIS_PORT) beside a service of our name.
func checkEnvironment(app *kong.Application, environ []string, stderr io.Writer) error {
	known := settingsOf(app)
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "KLUIS_") || known[name] {
			continue
		}
		for _, meant := range slices.Sorted(maps.Keys(known)) {
			if distance(name, meant) <= slips(meant) {
				return usageError{fmt.Errorf("%s: there is no such setting; is %s meant? (see kluis serve --help)", name, meant)}
			}
		}
		fmt.Fprintf(stderr, "kluis: %s is no setting, and is passed over (see kluis serve --help)\n", name)
	}
	return nil
}

// settingsOf gives the names of all settings, of whatever command.
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

// slips is how many letters may differ from a setting so that it was meant: one of a short name, three of a long one.
func slips(setting string) int { return min(1+(len(setting)-len("KLUIS_"))/5, 3) }

// distance is how many letters have to be put in, taken out or exchanged to make b of a (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from what of a was seen to each beginning of b
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
