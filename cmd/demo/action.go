package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// action has the fields of a line that the demo needs to know the people, and to count. The import checks the rest.
type action struct {
	Line int `json:"-"` // from 1

	Org      string `json:"org"`
	Actor    string `json:"actor"`
	Assignee string `json:"assignee"`
	Do       string `json:"do"`
	Task     string `json:"task"`

	Status     string    `json:"status"`
	Kind       string    `json:"kind"`
	Tags       []string  `json:"tags"`
	Components []string  `json:"components"`
	Start      time.Time `json:"start"`
	Minutes    int       `json:"minutes"`
}

// parse reads one line that is not empty. Its errors do not name the line.
func parse(line []byte) (a action, err error) {
	if !utf8.Valid(line) {
		return a, errors.New("not UTF-8")
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, describe(err)
	}
	if a.Org == "" {
		return a, errors.New(`the field "org" is missing: it says which workspace the action belongs to`)
	}
	for name, value := range map[string]string{"org": a.Org, "actor": a.Actor, "assignee": a.Assignee} {
		if err := checkName(value); err != nil {
			return a, fmt.Errorf("%q %w", name, err)
		}
	}
	return a, nil
}

// describe names the field with a wrong value. encoding/json would name the struct, which the reader does not know.
func describe(err error) error {
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("the field %q cannot be a %s", wrong.Field, wrong.Value)
	case errors.As(err, &when):
		return fmt.Errorf("%q is not a time such as 2006-01-02T15:04:05Z", when.Value)
	}
	return fmt.Errorf("not a JSON object: %w", err)
}

const maxName = 100 // characters of the name of an org or a person

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
