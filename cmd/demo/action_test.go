package demo

import (
	"strings"
	"testing"
)

// line gives a line with the fields that every line has, and more.
func line(do, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"at":"2026-03-02T07:30:00Z","org":"o","actor":"p1","do":"` + do + `","task":"T"` + more + `}`
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`nonsense`:        "not a JSON object",
		`[1]`:             "not a JSON object",
		`{`:               "not a JSON object: unexpected end",
		`{} {}`:           "not a JSON object: invalid character",
		`{"do":"person"}`: `the field "org" is missing`,
		line("task.create", `"title":"x","tags":"y"`):                                `the field "tags" cannot be a string`,
		line("time.log", `"minutes":5,"start":"yesterday"`):                          `"yesterday" is not a time such as`,
		line("task.status", `"status":"done","org":" "`):                             `"org" is empty`,
		line("task.status", `"status":"done","actor":"a\nb"`):                        `"actor" has a control character`,
		line("task.create", `"title":"x","assignee":"`+strings.Repeat("y", 101)+`"`): `"assignee" has 101 characters, at most 100`,
		line("task.status", `"status":"`)[:90] + "\xff\"}":                           "not UTF-8",
	} {
		_, err := parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
