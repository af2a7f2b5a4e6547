package domain

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the same days on every machine
)

// Brussels is the clock by which days begin and end: of reports, of due dates, of what people type without an offset. Instants
// are stored in UTC.
var Brussels = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Brussels")
	if err != nil {
		panic(err) // it is part of the program
	}
	return zone
}()

// Days are those from First to Last; nil: without a bound.
type Days struct{ First, Last *Date }

// DueWindows are the names of Window, in their order.
var DueWindows = []string{"overdue", "today", "tomorrow", "this_week", "next_week"}

// Window gives the days that a name means now, by the clock of Brussels. Weeks begin on Monday.
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

// Begin is the first instant of the day in Brussels, and End the first one behind it. The day must be one.
func (d Date) Begin() time.Time { return d.after(0) }
func (d Date) End() time.Time   { return d.after(1) }

func (d Date) after(days int) time.Time {
	day, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		panic("domain: " + err.Error()) // whoever asks has checked it
	}
	return time.Date(day.Year(), day.Month(), day.Day()+days, 0, 0, 0, 0, Brussels).UTC()
}

// localForms are those of a time without an offset, and offsetForms those with one. Seconds may be left out.
var (
	localForms  = []string{"2006-01-02T15:04:05", "2006-01-02T15:04"}
	offsetForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00"}
)

// ParseInstant reads an instant as people write it: with an offset (RFC 3339), or without one, by the clock of Brussels. It gives
// whole seconds of UTC. A local time that was skipped or came twice when the clocks were changed is refused without an offset.
func ParseInstant(pointer, text string) (time.Time, error) {
	text = strings.ToUpper(text) // RFC 3339 knows a t and a z as well
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

// parseForm reads a time in the first of several forms that it has.
func parseForm(text string, forms []string) (at time.Time, err error) {
	for _, form := range forms {
		if at, err = time.Parse(form, text); err == nil {
			break
		}
	}
	return at, err
}

// fromBrussels gives the instant at which the clocks of Brussels showed what wall says in UTC.
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

// offsetAround is what Brussels was ahead of UTC, some time from an instant.
func offsetAround(at time.Time, away time.Duration) time.Duration {
	_, seconds := at.Add(away).In(Brussels).Zone()
	return time.Duration(seconds) * time.Second
}

func withOffset(wall time.Time, offset time.Duration) string {
	minutes := int(offset.Minutes())
	return fmt.Sprintf("%s+%02d:%02d", wall.Format(localForms[0]), minutes/60, minutes%60)
}
