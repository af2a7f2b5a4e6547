package domain

import "time"

// Date is a day without a time or a zone, written 2006-01-02 (RFC 3339 full-date).
type Date string

func checkDate(pointer string, d *Date) error {
	if d == nil {
		return nil
	}
	if !d.Valid() {
		return InvalidField(pointer, "must be a date such as 2026-12-31")
	}
	return nil
}

// Valid tells whether the calendar has the day.
func (d Date) Valid() bool {
	day, err := time.Parse(time.DateOnly, string(d))
	return err == nil && storable(day)
}

// checkInstant refuses an instant that cannot be stored, and gives the instant as Postgres stores it: UTC, in microseconds.
func checkInstant(pointer string, at *time.Time) (*time.Time, error) {
	if at == nil {
		return nil, nil
	}
	utc := at.UTC().Truncate(time.Microsecond)
	if !storable(utc) {
		return nil, InvalidField(pointer, "must be an instant such as 2026-12-31T12:00:00Z")
	}
	return &utc, nil
}

// storable tells whether both JSON and Postgres have the year. RFC 3339 has a year 0; Postgres has none.
func storable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }
