package promises

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// noun is what a noun brings to the nets of this folder: one file of its name, one call of bring. A net that has nothing of a noun
// fails with the noun's name.
//
//   - TestKeyOnEveryCommand, TestIfMatchOnEveryOperation, TestMalformedRequests, TestGeneratedRequests, TestWorkspacesDoNotSeeEachOther and others ask
//     every operation: they need a thing, and a body.
//   - judge says whether a log is right: it needs a rule. TestEveryNounIsBrought finds the noun without one.
//   - TestRowsAreFolds makes random events of all types that the domain registers: it needs a stream, and values where not any text will do.
//   - TestDecisionsRelyOnOtherThings needs races, of a noun whose operations name things besides the one that they are about.
type noun struct {
	name string // as in "task.created"
	path string // what follows "/api/" in its paths, as in "tasks"; empty: the name and an "s"

	// thing makes one in a workspace, with texts that come from x.private; nil when no path names one.
	thing func(t tester, x *tenant) uuid.UUID
	// bodies has, for each operation of the noun that takes a body, one that is accepted.
	bodies map[string]func(x *tenant) object
	// rule says what is wrong about an event of the noun, by what the log holds before it.
	rule func(o *oracle, e fact) error
	// end says what is wrong when a log is at its end; nil when nothing can be.
	end func(o *oracle) error
	// stream names the stream that an event is in; nil: "<name>-<id>".
	stream func(e domain.Event, id uuid.UUID) string
	// values are the texts that a field of an event can have, by its JSON name, where not any text will do.
	values map[string][]string
	// races are pairs of requests of which one makes the other wrong.
	races map[string]race
}

// nouns is every noun, by its name.
var nouns = map[string]noun{}

// bring registers a noun.
func bring(n noun) noun {
	if _, twice := nouns[n.name]; twice {
		panic("promises: there are two nouns " + n.name)
	}
	if n.path == "" {
		n.path = n.name + "s"
	}
	if n.stream == nil {
		n.stream = func(_ domain.Event, id uuid.UUID) string { return n.name + "-" + id.String() }
	}
	nouns[n.name] = n
	return n
}

// nounOf is the noun of an event's type.
func nounOf(eventType string) (noun, error) {
	name, _, _ := strings.Cut(eventType, ".")
	n, there := nouns[name]
	if !there {
		return n, fmt.Errorf("there is no promises/%s.go, or it does not call bring: promises/noun.go says what the noun %s brings", name, name)
	}
	return n, nil
}
