package domain

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The list of a day follows from the changes that are effective by then, in any order of announcement.
func TestSubprocessorsOn(t *testing.T) {
	t.Parallel()
	put := func(version int, name, purpose string, day Date) SubprocessorChange {
		return SubprocessorChange{Version: version, Subprocessor: Subprocessor{Name: name, Purpose: purpose, Country: "BE", Data: "all"}, Effective: day}
	}
	changes := []SubprocessorChange{put(1, "Rack", "servers", "2026-01-01"), put(2, "Post", "mails", "2026-03-01"),
		put(3, "Rack", "servers and backups", "2026-02-01"), {Version: 4, Subprocessor: Subprocessor{Name: "Rack"}, Removed: true, Effective: "2026-04-01"}}
	for day, want := range map[Date][]string{"2025-12-31": nil, "2026-01-01": {"servers"}, "2026-02-28": {"servers and backups"},
		"2026-03-01": {"mails", "servers and backups"}, "2026-05-01": {"mails"}} {
		var found []string
		for _, s := range SubprocessorsOn(day, changes) {
			found = append(found, s.Purpose)
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s: %s", day, diff)
		}
	}
}

// Admins are told thirty days before a change, unless there are no admins or the workspaces have agreed already.
func TestSubprocessorChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	rack := Subprocessor{Name: "Rack", Purpose: "servers", Country: "BE", Data: "all"}
	before := []SubprocessorChange{{Version: 1, Subprocessor: Subprocessor{Name: "Post", Purpose: "mails", Country: "BE", Data: "addresses"}, Effective: "2026-01-01"}}
	for name, c := range map[string]struct {
		change SubprocessorChange
		served bool
		code   string
	}{
		"in time":                  {SubprocessorChange{Subprocessor: rack, Effective: "2026-03-31"}, true, ""},
		"a day too early":          {SubprocessorChange{Subprocessor: rack, Effective: "2026-03-30"}, true, "invalid"},
		"agreed":                   {SubprocessorChange{Subprocessor: rack, Effective: "2026-03-01", Agreed: true}, true, ""},
		"nobody to tell":           {SubprocessorChange{Subprocessor: rack, Effective: "2026-03-01"}, false, ""},
		"no day":                   {SubprocessorChange{Subprocessor: rack, Effective: "2026-02-30"}, false, "invalid"},
		"nothing to say":           {SubprocessorChange{Subprocessor: Subprocessor{Name: "Rack"}, Effective: "2026-05-01"}, false, "invalid"},
		"it is so":                 {SubprocessorChange{Subprocessor: before[0].Subprocessor, Effective: "2026-05-01"}, true, "subprocessor_listed"},
		"taken out at once":        {SubprocessorChange{Subprocessor: Subprocessor{Name: "Post"}, Removed: true, Effective: "2026-03-01"}, true, ""},
		"taken out that is not in": {SubprocessorChange{Subprocessor: rack, Removed: true, Effective: "2026-03-01"}, true, "subprocessor_not_found"},
	} {
		code := ""
		if refused, is := Refusal(c.change.Check(before, "2026-03-01", c.served)); is {
			code = refused.Code
		}
		if code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
}
