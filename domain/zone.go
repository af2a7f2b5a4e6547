package domain

import (
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
