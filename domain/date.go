package domain

import "time"

// Date is a day without a time or a zone, written 2006-01-02 (RFC 3339 full-date).
type Date string

func checkDate(pointer string, d *Date) error {
	if d == nil {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, string(*d)); err != nil {
		return InvalidField(pointer, "must be a date such as 2026-12-31")
	}
	return nil
}
