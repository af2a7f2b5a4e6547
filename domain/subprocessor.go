package domain

import (
	"cmp"
	"slices"
	"time"
)

// Subprocessor is a company that processes personal data of workspaces for the operator of Kluis (GDPR, Art. 28 (2) and (4)).
type Subprocessor struct {
	Name      string // of the company, and the key of the list
	Purpose   string // of the processing, in words
	Country   string // of the processing: ISO 3166-1 alpha-2
	Data      string // the data that are processed, in words
	Safeguard string // the protection of data outside of the European Economic Area (Art. 44 to 49); empty inside
}

// SubprocessorChange is a version of the list of subprocessors. It adds, replaces or removes one subprocessor of the version before.
type SubprocessorChange struct {
	Version      int // from 1
	Subprocessor     // when Removed, only the name counts
	Removed      bool
	Agreed       bool      // the operator has said that the workspaces have agreed already, so that no notice is given
	Effective    Date      // the first day of the change
	At           time.Time // the time of the announcement
}

// SubprocessorNotice is how many days before a change the admins of all workspaces are told.
const SubprocessorNotice = 30

// SubprocessorsOn gives the list of a day, sorted by name.
func SubprocessorsOn(day Date, changes []SubprocessorChange) (list []Subprocessor) {
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b SubprocessorChange) int {
		return cmp.Or(cmp.Compare(a.Effective, b.Effective), cmp.Compare(a.Version, b.Version))
	})
	for _, c := range changes {
		if c.Effective > day {
			break
		}
		list = slices.DeleteFunc(list, func(s Subprocessor) bool { return s.Name == c.Name })
		if !c.Removed {
			list = append(list, c.Subprocessor)
		}
	}
	slices.SortFunc(list, func(a, b Subprocessor) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Check refuses a change that cannot follow the earlier ones. served tells whether there are workspaces, whose admins must be told in time.
func (c SubprocessorChange) Check(before []SubprocessorChange, today Date, served bool) error {
	if !c.Effective.Valid() {
		return InvalidField("/effective", "must be a date such as 2026-12-31")
	}
	last := SubprocessorsOn(Date("9999-12-31"), before)
	known := slices.ContainsFunc(last, func(s Subprocessor) bool { return s.Name == c.Name })
	if c.Removed {
		if !known {
			return Missing("subprocessor")
		}
		return nil
	}
	for pointer, text := range map[string]string{"/name": c.Name, "/purpose": c.Purpose, "/data": c.Data} {
		if err := CheckName(pointer, text); err != nil {
			return err
		}
	}
	if slices.Contains(last, c.Subprocessor) {
		return Refuse(Conflict, "subprocessor_listed", "%s is in the list with the same particulars", c.Name)
	}
	if first := today.Plus(SubprocessorNotice); served && !c.Agreed && c.Effective < first {
		return InvalidField("/effective", "must be %s or later: admins are told %d days before", first, SubprocessorNotice)
	}
	return nil
}

// Plus gives the day so many days later. d must be Valid.
func (d Date) Plus(days int) Date {
	day, _ := time.Parse(time.DateOnly, string(d)) // d is Valid
	return Date(day.AddDate(0, 0, days).Format(time.DateOnly))
}

// Day gives the day of an instant, by the clock of Brussels.
func Day(at time.Time) Date { return Date(at.In(Brussels).Format(time.DateOnly)) }
