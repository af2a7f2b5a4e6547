package domain

import (
	"cmp"
	"slices"
	"time"
)

// Subprocessor is a company to which whoever runs Kluis gives personal data of workspaces to process (GDPR, Art. 28 (2) and (4)).
type Subprocessor struct {
	Name      string // of the company, by which it is known
	Purpose   string // what it does
	Country   string // where it does so: ISO 3166-1 alpha-2
	Data      string // which data it gets, in words
	Safeguard string // what protects data outside of the European Economic Area (Art. 44 to 49); empty inside
}

// SubprocessorChange is a version of the list of subprocessors: the one before, with one put in, another put in its place, or taken out.
type SubprocessorChange struct {
	Version      int // from 1
	Subprocessor     // of one that is taken out only the name counts
	Removed      bool
	Agreed       bool      // whoever runs Kluis has said that the workspaces agreed to it otherwise, so that no notice is given
	Effective    Date      // from which day on it is so
	At           time.Time // when it was announced
}

// SubprocessorNotice is how many days before a subprocessor gets data the admins of all workspaces are told.
const SubprocessorNotice = 30

// SubprocessorsOn is the list as it is on a day, by name.
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

// Check tells whether a change may follow those before it. served says that there are workspaces, whose admins are to be told in time.
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
		return Refuse(Conflict, "subprocessor_listed", "%s is in the list as it is", c.Name)
	}
	if first := today.Plus(SubprocessorNotice); served && !c.Agreed && c.Effective < first {
		return InvalidField("/effective", "must be %s or later: admins are told %d days before", first, SubprocessorNotice)
	}
	return nil
}

// Plus is so many days later. The day must be one.
func (d Date) Plus(days int) Date {
	day, _ := time.Parse(time.DateOnly, string(d)) // it is one
	return Date(day.AddDate(0, 0, days).Format(time.DateOnly))
}

// Day is the day of an instant, by the clock of Brussels.
func Day(at time.Time) Date { return Date(at.In(Brussels).Format(time.DateOnly)) }
