package domain

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // the same days on every machine
)

// Brussels is the time zone of reports, of due dates and of times without an offset. Instants are stored in UTC.
var Brussels = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Brussels")
	if err != nil {
		panic(err) // the zone is compiled into the program
	}
	return zone
}()

// Days are the days from First to Last; nil means without a bound.
type Days struct{ First, Last *Date }

// DueWindows are the names that Window takes, in their order.
var DueWindows = []string{"overdue", "today", "tomorrow", "this_week", "next_week"}

// Window gives the days of a named window, by the clock of Brussels. Weeks begin on Monday.
func Window(name string, now time.Time) Days {
	now = now.In(Brussels)
	day := func(away int) *Date {
		d := Date(now.AddDate(0, 0, away).Format(time.DateOnly))
		return &d
	}
	monday := -(int(now.Weekday()) + 6) % 7
	switch name {
	case "overdue":
		return Days{nil, day(-1)}
	case "today":
		return Days{day(0), day(0)}
	case "tomorrow":
		return Days{day(1), day(1)}
	case "this_week":
		return Days{day(monday), day(monday + 6)}
	case "next_week":
		return Days{day(monday + 7), day(monday + 13)}
	}
	return Days{}
}

// Begin gives the first instant of the day in Brussels, and End that of the next day. d must be Valid.
func (d Date) Begin() time.Time { return d.after(0) }
func (d Date) End() time.Time   { return d.after(1) }

func (d Date) after(days int) time.Time {
	day, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		panic("domain: " + err.Error()) // the caller must have checked the day
	}
	return time.Date(day.Year(), day.Month(), day.Day()+days, 0, 0, 0, 0, Brussels).UTC()
}

// localForms are the forms of a time without an offset, offsetForms those of a time with an offset. Seconds may be left out.
var (
	localForms  = []string{"2006-01-02T15:04:05", "2006-01-02T15:04"}
	offsetForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00"}
)

// instantForm is the form of both. time.Parse takes more: a comma before the fraction, an hour of one digit, an offset of 24 hours.
var instantForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$`)

// ParseInstant reads an instant with an offset (RFC 3339), or a time without an offset by the clock of Brussels. The result is in UTC and
// whole seconds. A local time that a clock change skipped or repeated is refused without an offset.
func ParseInstant(pointer, text string) (time.Time, error) {
	text = strings.ToUpper(text) // RFC 3339 allows a lower-case t and z as well
	at, err := parseForm(text, offsetForms)
	if err != nil {
		if at, err = parseForm(text, localForms); err == nil {
			if at, err = fromBrussels(pointer, at); err != nil {
				return at, err
			}
		}
	}
	if err != nil || !storable(at.UTC()) {
		return at, InvalidField(pointer, "must be an instant such as 2026-12-31T12:00:00+01:00, or a time in Brussels such as 2026-12-31T12:00:00")
	}
	return at.UTC().Truncate(time.Second), nil
}

// ReadInstant reads an instant with an offset and seconds (RFC 3339). The error is none to be shown.
func ReadInstant(text string) (time.Time, error) {
	return parseForm(strings.ToUpper(text), offsetForms[:1])
}

// parseForm reads a time in the first form that fits.
func parseForm(text string, forms []string) (at time.Time, err error) {
	if !instantForm.MatchString(text) {
		return at, errors.New("not in the form of RFC 3339")
	}
	for _, form := range forms {
		if at, err = time.Parse(form, text); err == nil {
			break
		}
	}
	return at, err
}

// fromBrussels gives the instant at which the clocks of Brussels showed the date and time of wall.
func fromBrussels(pointer string, wall time.Time) (time.Time, error) {
	before, after := offsetAround(wall, -26*time.Hour), offsetAround(wall, 26*time.Hour)
	first, second := wall.Add(-before), wall.Add(-after)
	shown := func(at time.Time) bool { return at.In(Brussels).Format(localForms[0]) == wall.Format(localForms[0]) }
	switch {
	case before == after || shown(first) && !shown(second):
		return first, nil
	case shown(second) && !shown(first):
		return second, nil
	}
	what := "never came"
	if shown(first) {
		what = "came twice"
	}
	return wall, InvalidField(pointer, "%s %s in Brussels, where the clocks were changed: give it with an offset, %s or %s", wall.Format(localForms[0]), what,
		withOffset(wall, before), withOffset(wall, after))
}

// offsetAround gives the offset of Brussels from UTC at a distance from an instant.
func offsetAround(at time.Time, away time.Duration) time.Duration {
	_, seconds := at.Add(away).In(Brussels).Zone()
	return time.Duration(seconds) * time.Second
}

func withOffset(wall time.Time, offset time.Duration) string {
	minutes := int(offset.Minutes())
	return fmt.Sprintf("%s+%02d:%02d", wall.Format(localForms[0]), minutes/60, minutes%60)
}
