package demo

import (
	"slices"
	"strconv"
)

// nouns of the file that the demo does not play, and the path at which the server has them one day.
var nouns = map[string]string{"time entry": "/api/time-entries", "tag": "/api/tags", "project": "/api/projects"}

// missing says what of an action has no place: all of it (the noun, or the status that there is not), or some
// fields of it. What is in fields that are missing beside a noun is not told twice.
func missing(a action) (all string, fields []string) {
	if a.Do == logTime {
		return "time entry", a.Unknown
	}
	if a.Status != "" {
		if _, known := statusOf(a.Status); !known && a.Do == setStatus {
			return "status " + strconv.Quote(a.Status), a.Unknown
		} else if !known {
			fields = append(fields, "status "+strconv.Quote(a.Status))
		}
	}
	if _, known := priorityOf(a.Priority); !known && a.Priority != "" {
		fields = append(fields, "priority "+strconv.Quote(a.Priority))
	}
	for field, given := range map[string]bool{"project": a.Project != "", "tag": len(a.Tags) > 0, "component": len(a.Components) > 0,
		"kind": a.Kind != "", "reason": a.Reason != "", "actor_inferred": a.ActorInferred} {
		if given {
			fields = append(fields, field)
		}
	}
	return "", slices.Concat(fields, a.Unknown)
}

// named says whether the server has a noun by now.
func named(noun string, paths map[string]bool) string {
	if path := nouns[noun]; path != "" && paths[path] {
		return noun + " (the server has it, the demo does not play it yet)"
	}
	return noun
}
