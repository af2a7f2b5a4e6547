package demo

import (
	"slices"
	"strings"
	"testing"
)

// line is one with everything that all have, and more.
func line(do, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"at":"2026-03-02T07:30:00Z","org":"o","actor":"p1","do":"` + do + `","task":"T"` + more + `}`
}

func TestParse(t *testing.T) {
	a, err := parse([]byte(line(createTask, `"title":"Ünï 🎂","body":"","estimate_minutes":0,"tags":["a",", b"],"parent":"S","colour":1,"activity":"x"`)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Title != "Ünï 🎂" || a.Body == nil || *a.Estimate != 0 || a.Parent != "S" || len(a.Tags) != 2 {
		t.Errorf("%+v", a)
	}
	if want := []string{"activity", "colour"}; !slices.Equal(a.Unknown, want) { // activity belongs to time.log
		t.Errorf("unknown fields %v, want %v", a.Unknown, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`nonsense`:                       "not a JSON object",
		`[1]`:                            "not a JSON object",
		`{`:                              "not a JSON object: unexpected end",
		`{} {}`:                          "not a JSON object: invalid character",
		`{}`:                             `"do" is "", not one of task.create`,
		line("task.creat", ""):           `"do" is "task.creat"`,
		line(createTask, ""):             `task.create needs the field "title"`,
		line(createTask, `"title":null`): `needs the field "title"`,
		line(createTask, `"title":""`):   `needs the field "title"`,
		line(createTask, `"title":5`):    `the field "title" cannot be a number`,
		line(createTask, `"title":"x","tags":"y"`):                                `the field "tags" cannot be a string`,
		line(createTask, `"title":"x","estimate_minutes":1.5`):                    `the field "estimate_minutes" cannot be a number 1.5`,
		line(addComment, `"comment":"C"`):                                         `comment.add needs the field "body"`,
		line(logTime, `"minutes":5,"start":"yesterday"`):                          `"yesterday" is not a time such as`,
		line(logTime, `"minutes":5`):                                              `time.log needs the field "start"`,
		line(setStatus, `"status":"done","org":" "`):                              `"org" is empty`,
		line(setStatus, `"status":"done","actor":"a\nb"`):                         `"actor" has a control character`,
		line(createTask, `"title":"x","assignee":"`+strings.Repeat("y", 101)+`"`): `"assignee" has 101 characters, at most 100`,
		line(setStatus, `"status":"`)[:90] + "\xff\"}":                            "not UTF-8",
	} {
		_, err := parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		text, all string
		fields    []string
	}{
		{line(createTask, `"title":"x"`), "", nil},
		{line(createTask, `"title":"x","status":"to do","priority":"Critical"`), "", nil},
		{line(createTask, `"title":"x","status":"blocked","priority":"Trivial","colour":1`), "", []string{"colour", `priority "Trivial"`, `status "blocked"`}},
		{line(createTask, `"title":"x","project":"p","tags":["t"],"components":["c"],"kind":"k"`), "", []string{"component", "kind", "project", "tag"}},
		{line(setStatus, `"status":"done","reason":"r","actor_inferred":true`), "", []string{"actor_inferred", "reason"}},
		{line(setStatus, `"status":"blocked"`), `status "blocked"`, nil},
		{line(logTime, `"start":"2026-03-02T07:30:00Z","minutes":5,"activity":"a"`), "time entry", nil},
	} {
		a, err := parse([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		all, fields := missing(a)
		slices.Sort(fields)
		if all != c.all || !slices.Equal(fields, c.fields) {
			t.Errorf("%s: %q %q, want %q %q", c.text, all, fields, c.all, c.fields)
		}
	}
}

func TestNamed(t *testing.T) {
	paths := map[string]bool{"/api/tags": true}
	if got := named("tag", paths); !strings.HasPrefix(got, "tag (the server has it") {
		t.Error(got)
	}
	if got := named("time entry", paths); got != "time entry" {
		t.Error(got)
	}
}
