package imports

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
	"unicode/utf8"
)

// maxLine is the longest line of a tracker, in bytes.
const maxLine = 1 << 20

// trackerLine is a line of a tracker.
type trackerLine struct {
	At    time.Time `json:"at"`
	Org   string    `json:"org"`
	Actor string    `json:"actor"`
	Do    Do        `json:"do"`
	Task  string    `json:"task"`

	Name  string `json:"name"`
	Email string `json:"email"`

	Title      string   `json:"title"`
	Kind       string   `json:"kind"`
	Project    string   `json:"project"`
	Body       *string  `json:"body"`
	Status     string   `json:"status"`
	Priority   string   `json:"priority"`
	Tags       []string `json:"tags"`
	Components []string `json:"components"`
	Assignee   string   `json:"assignee"`
	Parent     string   `json:"parent"`
	Estimate   *int     `json:"estimate_minutes"`

	Comment string `json:"comment"`

	Start    time.Time `json:"start"`
	Minutes  *int      `json:"minutes"`
	Activity string    `json:"activity"`
}

// tracker reads NDJSON, an action a line, of one organisation or all. The other fields of a line are facts that Kluis has no place for:
// why a status was set, who inferred it, breaks.
func tracker(from io.Reader, org string) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		lines := bufio.NewReaderSize(from, 64<<10)
		for number := 1; ; number++ {
			line, whole, err := readLine(lines)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(Action{}, fmt.Errorf("read line %d: %w", number, err))
				return
			}
			if len(line) > 0 || !whole {
				action, in, wrong := trackerAction(number, line, whole, org)
				switch {
				case wrong != nil:
					if !yield(Action{Line: number, Task: action.Task}, wrong) {
						return
					}
				case in:
					if !yield(action, nil) {
						return
					}
				}
			}
			if err != nil {
				return
			}
		}
	}
}

// readLine reads a line without what ends it. Of one that is too long it gives nothing, and passes over it.
func readLine(from *bufio.Reader) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := from.ReadSlice('\n')
		if whole = whole && len(line)+len(part) <= maxLine; whole {
			line = append(line, part...)
		} else {
			line = nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(line), whole, err
		}
	}
}

func trackerAction(number int, line []byte, whole bool, org string) (a Action, in bool, wrong *Reject) {
	if !whole {
		return a, false, rejected(number, "the line is longer than %d bytes", maxLine)
	}
	if !utf8.Valid(line) {
		return a, false, rejected(number, "the line is not UTF-8")
	}
	var t trackerLine
	if err := json.Unmarshal(line, &t); err != nil {
		return a, false, rejected(number, "the line is no JSON object of an action: %s", unmarshalling(err))
	}
	if org != "" && t.Org != org {
		return a, false, nil
	}
	a = Action{Line: number, At: t.At, By: Person{t.Actor, t.Name, t.Email}, Do: t.Do, Task: t.Task, ID: t.Comment, Title: t.Title, Body: t.Body, Status: t.Status,
		Priority: t.Priority, Project: t.Project, Parent: t.Parent, Tags: tags(append(append([]string{t.Kind}, t.Tags...), t.Components...)...),
		Estimate: t.Estimate, Start: t.Start, Activity: t.Activity}
	if t.Assignee != "" {
		a.Assignees = []Person{{Code: t.Assignee}}
	}
	if t.Minutes != nil {
		a.Minutes = *t.Minutes
	}
	return a, true, a.check()
}

// check refuses an action that lacks something.
func (a Action) check() *Reject {
	lacks := ""
	switch {
	case a.Do == SayPerson:
		if a.By.Code == "" {
			lacks = "actor"
		}
	case a.Task == "":
		lacks = "task"
	case a.At.IsZero():
		lacks = "at"
	case a.By.Code == "":
		lacks = "actor"
	case a.Do == CreateTask && a.Title == "":
		lacks = "title"
	case a.Do == SetStatus && a.Status == "":
		lacks = "status"
	case (a.Do == AddComment || a.Do == EditComment) && a.ID == "":
		lacks = "comment"
	case a.Do == AddComment && a.Body == nil:
		lacks = "body"
	case a.Do == LogTime && a.Start.IsZero():
		lacks = "start"
	}
	if lacks != "" {
		return rejected(a.Line, "%s needs %q", a.Do, lacks)
	}
	switch a.Do {
	case SayPerson, CreateTask, SetStatus, AddComment, EditComment, LogTime:
		return nil
	}
	return rejected(a.Line, "what it does is %q, and not one of person, task.create, task.status, comment.add, comment.edit, time.log", a.Do)
}

// unmarshalling says what is wrong without the name of a struct of ours.
func unmarshalling(err error) string {
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return "it is of the JSON type " + wrong.Value
	case errors.As(err, &wrong):
		return fmt.Sprintf("%q cannot be a %s", wrong.Field, wrong.Value)
	case errors.As(err, &when):
		return fmt.Sprintf("%q is no time such as 2006-01-02T15:04:05Z", when.Value)
	}
	return err.Error()
}
