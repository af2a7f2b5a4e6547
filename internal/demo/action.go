package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// action is one line of the file. Which fields belong to which Do is in fields.
type action struct {
	Line int `json:"-"` // from 1

	At    time.Time `json:"at"` // says the order only: the server has its own clock
	Org   string    `json:"org"`
	Actor string    `json:"actor"`
	Do    string    `json:"do"`
	Task  string    `json:"task"`

	Title      string   `json:"title"`
	Kind       string   `json:"kind"`
	Project    string   `json:"project"`
	Body       *string  `json:"body"` // of a task or comment
	Status     string   `json:"status"`
	Priority   string   `json:"priority"`
	Tags       []string `json:"tags"`
	Components []string `json:"components"`
	Assignee   string   `json:"assignee"`
	Parent     string   `json:"parent"`
	Estimate   *int     `json:"estimate_minutes"`

	Reason        string `json:"reason"`
	ActorInferred bool   `json:"actor_inferred"`

	Comment string `json:"comment"`

	Start    time.Time `json:"start"`
	Minutes  *int      `json:"minutes"`
	Break    *int      `json:"break_minutes"`
	Activity string    `json:"activity"`

	Unknown []string `json:"-"` // names of fields that this format does not have
}

// What an action can do.
const (
	createTask  = "task.create"
	setStatus   = "task.status"
	addComment  = "comment.add"
	editComment = "comment.edit"
	logTime     = "time.log"
)

var always = []string{"at", "org", "actor", "do", "task"}

// fields is what an action of a kind has beside always: what it must have first.
var fields = map[string]struct{ must, may []string }{
	createTask: {[]string{"title"}, []string{"kind", "project", "body", "status", "priority", "tags", "components",
		"assignee", "parent", "estimate_minutes"}},
	setStatus:   {[]string{"status"}, []string{"reason", "actor_inferred"}},
	addComment:  {[]string{"comment", "body"}, nil},
	editComment: {[]string{"comment"}, []string{"body"}},
	logTime:     {[]string{"start", "minutes"}, []string{"break_minutes", "activity"}},
}

// parse reads one line that is not empty. Its errors say what is wrong, not on which line.
func parse(line []byte) (action, error) {
	if !utf8.Valid(line) {
		return action{}, errors.New("not UTF-8")
	}
	if line[0] != '{' {
		return action{}, errors.New("not a JSON object")
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(line, &names); err != nil {
		return action{}, fmt.Errorf("not a JSON object: %w", err)
	}
	var a action
	if err := json.Unmarshal(line, &a); err != nil {
		return action{}, describe(err)
	}
	known, ok := fields[a.Do]
	if !ok {
		return action{}, fmt.Errorf(`"do" is %q, not one of %s`, a.Do, strings.Join(verbs(), ", "))
	}
	for _, name := range slices.Concat(always, known.must) {
		if value, there := names[name]; !there || string(value) == "null" || string(value) == `""` && name != "body" {
			return action{}, fmt.Errorf("%s needs the field %q", a.Do, name)
		}
	}
	for name := range names {
		if !slices.Contains(always, name) && !slices.Contains(known.must, name) && !slices.Contains(known.may, name) {
			a.Unknown = append(a.Unknown, name)
		}
	}
	slices.Sort(a.Unknown)
	for name, value := range map[string]string{"org": a.Org, "actor": a.Actor, "assignee": a.Assignee} {
		if err := checkName(value); err != nil {
			return action{}, fmt.Errorf("%q %w", name, err)
		}
	}
	return a, nil
}

func verbs() []string { return []string{createTask, setStatus, addComment, editComment, logTime} }

// describe says of which field a value is wrong. encoding/json names the struct, which no one knows.
func describe(err error) error {
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("the field %q cannot be a %s", wrong.Field, wrong.Value)
	case errors.As(err, &when):
		return fmt.Errorf("%q is not a time such as 2006-01-02T15:04:05Z", when.Value)
	}
	return err
}

const maxName = 100 // characters of an org, a person

// checkName refuses what cannot become the name of a workspace or a person.
func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n > maxName {
		return fmt.Errorf("has %d characters, at most %d are possible", n, maxName)
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return errors.New("has a control character")
	}
	if name != "" && strings.TrimSpace(name) == "" {
		return errors.New("is empty")
	}
	return nil
}
