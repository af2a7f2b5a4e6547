package imports

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// csvFields are what a column can be.
var csvFields = []string{"id", "title", "description", "status", "priority", "project", "parent", "assignees", "tags", "start_on", "due_on", "estimate_minutes",
	"created_at", "created_by", "completed_at"}

// csvLists are the fields that several columns may be.
var csvLists = []string{"assignees", "tags"}

// table reads a CSV (RFC 4180) with a first row of names, a task a row. Its columns are separated by commas or, as where a comma is in numbers, by
// semicolons or tabs. The mapping gives the field of each column by its name; a column that it does not name is the field that is called as it
// is, or nothing. Lists are separated by semicolons.
func table(file io.ReadSeeker, o Options) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		t, err := openTable(file, o.Mapping)
		if err != nil {
			yield(Action{}, err)
			return
		}
		orders := map[string]string{}
		if slices.ContainsFunc(t.columns, func(field string) bool { return slices.Contains(csvDates, field) }) {
			if orders, err = dateOrders(file, t); err == nil {
				t, err = openTable(file, o.Mapping)
			}
			if err != nil {
				yield(Action{}, err)
				return
			}
		}
		if o.Dates != nil && len(orders) > 0 {
			o.Dates(orders)
		}
		for {
			row, err := t.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if wrong, is := errors.AsType[*csv.ParseError](err); is {
				if !yield(Action{Line: wrong.StartLine}, rejected(wrong.StartLine, "the row is no CSV: %s", wrong.Err)) {
					return
				}
				continue
			}
			if err != nil {
				yield(Action{}, fmt.Errorf("read a row: %w", err))
				return
			}
			line, _ := t.rows.FieldPos(0)
			actions, wrong := csvActions(line, t.columns, row, orders, o.Asked)
			if wrong != nil {
				if !yield(Action{Line: line}, wrong) {
					return
				}
				continue
			}
			for _, a := range actions {
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

// csvTable is a table behind its first row.
type csvTable struct {
	rows    *csv.Reader
	pieces  *bounded
	columns []string // the field of each
}

func openTable(from io.Reader, mapping map[string]string) (*csvTable, error) {
	file := bufio.NewReaderSize(unmarked(from), 64<<10)
	t := &csvTable{pieces: &bounded{from: file}}
	t.rows = csv.NewReader(t.pieces)
	t.rows.Comma = separatorOf(file)
	t.rows.ReuseRecord = true
	t.rows.FieldsPerRecord = -1
	header, err := t.rows.Read()
	if err != nil {
		return nil, fmt.Errorf("read the names of the columns: %w", err)
	}
	t.columns, err = columnsOf(header, mapping)
	return t, err
}

// next reads a row, which is good until the next one.
func (t *csvTable) next() ([]string, error) {
	t.pieces.next()
	return t.rows.Read()
}

// separatorOf is what separates the columns: what is most often in the first line, outside quotes.
func separatorOf(file *bufio.Reader) rune {
	start, _ := file.Peek(file.Size()) // what there is of a shorter one
	first, _, _ := strings.Cut(string(start), "\n")
	found := map[rune]int{}
	quoted := false
	for _, r := range first {
		if r == '"' {
			quoted = !quoted
		} else if !quoted {
			found[r]++
		}
	}
	return slices.MaxFunc([]rune{',', ';', '\t'}, func(a, b rune) int { return cmp.Compare(found[a], found[b]) })
}

// columnsOf gives the field of each column.
func columnsOf(header []string, mapping map[string]string) ([]string, error) {
	columns := make([]string, len(header))
	left := maps.Clone(mapping)
	for i, name := range header {
		name = strings.TrimSpace(name)
		field, mapped := mapping[name]
		delete(left, name)
		if !mapped {
			field = strings.ToLower(strings.ReplaceAll(name, " ", "_"))
		}
		if known := slices.Contains(csvFields, field); known {
			if slices.Contains(columns, field) && !slices.Contains(csvLists, field) {
				return nil, fmt.Errorf("two columns are %q: say which one, and of the other {%q: \"\"}", field, name)
			}
			columns[i] = field
		} else if mapped && field != "" {
			return nil, fmt.Errorf("the column %q cannot be %q, but one of %s", name, field, strings.Join(csvFields, ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		return nil, fmt.Errorf("there is no column %q, but %q", name, header)
	}
	if !slices.Contains(columns, "title") {
		return nil, errors.New(`no column is the title: say which, as {"Name of the column": "title"}`)
	}
	return columns, nil
}

func csvActions(line int, columns, row []string, orders map[string]string, asked time.Time) ([]Action, *Reject) {
	values := map[string]string{}
	for i, field := range columns {
		switch {
		case field == "" || i >= len(row):
		case !utf8.ValidString(row[i]):
			return nil, rejected(line, "the text is not UTF-8: save the table as \"CSV UTF-8\"")
		case slices.Contains(csvLists, field):
			values[field] += ";" + row[i]
		default:
			values[field] = strings.TrimSpace(row[i])
		}
	}
	a := Action{Line: line, Do: CreateTask, Task: values["id"], Title: values["title"], Status: values["status"], Priority: values["priority"],
		Project: values["project"], Parent: values["parent"], Tags: tags(split(values["tags"])...),
		By: Person{Code: cmp.Or(values["created_by"], "csv"), Name: cmp.Or(values["created_by"], "CSV"), Email: values["created_by"]}}
	if a.Task == "" {
		a.Task = "row " + strconv.Itoa(line)
	}
	if text := values["description"]; text != "" {
		a.Body = &text
	}
	for _, name := range split(values["assignees"]) {
		a.Assignees = append(a.Assignees, Person{Code: name, Name: name, Email: name})
	}
	if text := values["estimate_minutes"]; text != "" {
		minutes, err := strconv.Atoi(text)
		if err != nil {
			return nil, rejected(line, "estimate_minutes is %q, and not a whole number", text)
		}
		a.Estimate = &minutes
	}
	var wrong *Reject
	if a.StartOn, wrong = csvDay(line, "start_on", values["start_on"], orders["start_on"]); wrong != nil {
		return nil, wrong
	}
	if a.DueOn, wrong = csvDay(line, "due_on", values["due_on"], orders["due_on"]); wrong != nil {
		return nil, wrong
	}
	if a.At, wrong = csvTime(line, "created_at", values["created_at"], orders["created_at"], asked); wrong != nil {
		return nil, wrong
	}
	completed, wrong := csvTime(line, "completed_at", values["completed_at"], orders["completed_at"], time.Time{})
	if wrong != nil {
		return nil, wrong
	}
	actions := []Action{a}
	if !completed.IsZero() {
		actions[0].Status = "open"
		actions = append(actions, Action{Line: line, At: completed, By: a.By, Do: SetStatus, Task: a.Task, Status: "done", ID: "completed"})
	}
	return actions, a.check()
}

func split(text string) (parts []string) {
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
