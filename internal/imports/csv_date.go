package imports

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// csvDates are the fields that are days or instants.
var csvDates = []string{"start_on", "due_on", "created_at", "completed_at"}

// The orders of a date with slashes. 3/4/2026 is the third of April to one reader and the fourth of March to another, so one date of a column that
// can be read in one order only says the order of the whole column.
const (
	dayFirst   = "day/month/year"
	monthFirst = "month/day/year"
)

// numeric is a date of numbers with the year last, between dots or slashes, with a time of day or without.
var numeric = regexp.MustCompile(`^(\d{1,2})([./])(\d{1,2})[./](\d{4})(\s.*)?$`)

// dateOrders finds the order of the dates with slashes in each column that is a date. For that it reads the whole table once, and puts the file back to
// its beginning.
func dateOrders(file io.ReadSeeker, t *csvTable) (map[string]string, error) {
	found := map[string]map[string]bool{}
	for {
		row, err := t.next()
		if _, is := errors.AsType[*csv.ParseError](err); is {
			continue
		}
		if err != nil {
			break // the second reading says what is wrong
		}
		for i, field := range t.columns {
			if i >= len(row) || !slices.Contains(csvDates, field) {
				continue
			}
			if order := orderOf(strings.TrimSpace(row[i])); order != "" {
				if found[field] == nil {
					found[field] = map[string]bool{}
				}
				found[field][order] = true
			}
		}
	}
	all := map[string]string{}
	for field, orders := range found {
		for order := range orders {
			if len(orders) == 1 {
				all[field] = order
			}
		}
	}
	_, err := file.Seek(0, io.SeekStart)
	return all, err
}

// orderOf is the one order in which a date with slashes can be read; empty for any other text.
func orderOf(text string) string {
	parts := numeric.FindStringSubmatch(text)
	if len(parts) == 0 || parts[2] != "/" {
		return ""
	}
	first, _ := strconv.Atoi(parts[1]) // two digits at most
	second, _ := strconv.Atoi(parts[3])
	switch {
	case first > 12 && second <= 12:
		return dayFirst
	case second > 12 && first <= 12:
		return monthFirst
	}
	return ""
}

// yearFirst writes a date of numbers as 2006-01-02, with what follows it. Any other text stays. Dots separate the day, the month and the year.
func yearFirst(text, order string) (string, error) {
	parts := numeric.FindStringSubmatch(text)
	if parts == nil {
		return text, nil
	}
	day, month := parts[1], parts[3]
	switch {
	case parts[2] == "/" && order == "" && day != month:
		return "", fmt.Errorf("may be of %s or of %s, and the other rows of the column do not say which", dayFirst, monthFirst)
	case parts[2] == "/" && order == monthFirst:
		day, month = month, day
	}
	return fmt.Sprintf("%s-%02s-%02s%s", parts[4], month, day, parts[5]), nil
}

// csvLayouts are the forms of an instant or a day: those of ISO 8601, and those of exports of Jira (28/Nov/26 10:39 AM) and Linear.
var csvLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02 3:04:05 PM", "2006-01-02 3:04 PM", time.DateOnly,
	"2/Jan/06 3:04 PM", "2/Jan/06 15:04", "2/Jan/06", "2/Jan/2006", "Mon Jan 02 2006 15:04:05 GMT-0700"}

// zoneName is what a browser writes behind an instant, such as (Central European Standard Time).
var zoneName = regexp.MustCompile(`\s*\([^()]*\)$`)

// csvTime reads an instant, or a day, which begins in UTC.
func csvTime(line int, field, text, order string, otherwise time.Time) (time.Time, *Reject) {
	if text == "" {
		return otherwise, nil
	}
	written, err := yearFirst(zoneName.ReplaceAllString(text, ""), order)
	if err != nil {
		return otherwise, rejected(line, "%s is %q, which %s: write it as 2006-01-02", field, text, err)
	}
	for _, layout := range csvLayouts {
		if at, err := time.Parse(layout, written); err == nil {
			return at, nil
		}
	}
	return otherwise, rejected(line, "%s is %q, and neither such as 2006-01-02T15:04:05Z nor such as 2006-01-02 or 02.01.2006", field, text)
}

// csvDay reads a day.
func csvDay(line int, field, text, order string) (string, *Reject) {
	day, wrong := csvTime(line, field, text, order, time.Time{})
	if wrong != nil || text == "" {
		return "", wrong
	}
	return day.Format(time.DateOnly), nil
}
