package domain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
)

var (
	ann = uuid.MustParse("01930000-0000-7000-8000-00000000000a")
	bob = uuid.MustParse("01930000-0000-7000-8000-00000000000b")
	one = uuid.MustParse("01930000-0000-7000-8000-000000000001")
)

func taskOf(events ...domain.Event) (t domain.Task) {
	for _, r := range history(domain.TaskStream(one), ann, events...) {
		t.Apply(r)
	}
	return t
}

// Every accepted instant can be stored. An event that cannot be stored would hold up its workspace for ever.
func TestYears(t *testing.T) {
	for _, day := range []domain.Date{"0000-01-01", "0000-12-31"} {
		if _, err := domain.NewTask(domain.TaskCreated{Title: "x", DueOn: &day}); err == nil {
			t.Errorf("due on %s", day)
		}
	}
	for text, good := range map[string]bool{
		"0000-01-01T00:00:00Z": false, "0001-01-01T00:00:00+02:00": false, "9999-12-31T23:59:59-02:00": false,
		"0001-01-01T00:00:00Z": true, "9999-12-31T23:59:59Z": true, "2026-02-03T04:05:06.7-08:00": true,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		events, err := domain.NewIntegration(domain.IntegrationConnected{Provider: "p", Name: "n", ExpiresAt: &at})
		if (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
		if _, wrong := json.Marshal(events); wrong != nil {
			t.Error(wrong)
		}
	}
}

func TestTaskApply(t *testing.T) {
	title, open, low := "B", "open", "low"
	got := taskOf(
		domain.TaskCreated{Title: "A", Status: "open", Priority: "none", AssigneeIDs: []uuid.UUID{ann}},
		domain.TaskUpdated{Title: &title, Priority: &low, DueOn: domain.To(domain.Date("2026-02-01"))},
		domain.TaskAssigned{MemberID: bob}, domain.TaskAssigned{MemberID: bob}, domain.TaskUnassigned{MemberID: ann},
		domain.TaskViewerAdded{MemberID: ann}, domain.TaskViewerRemoved{MemberID: ann},
		domain.TaskCompleted{}, domain.TaskReopened{Status: open},
		domain.TaskUpdated{DueOn: domain.Optional[domain.Date]{Set: true}},
		domain.TaskDeleted{}, domain.TaskRestored{},
	)
	records := history("", ann, make([]domain.Event, 12)...)
	want := domain.Task{ID: one, Title: "B", Status: "open", Priority: "low", AssigneeIDs: []uuid.UUID{bob}, ViewerIDs: []uuid.UUID{}, TagIDs: []uuid.UUID{},
		Relations: []domain.TaskRelation{}, Rank: "V000000011", CreatedBy: ann, CreatedAt: records[0].At, UpdatedAt: records[11].At, Version: 12, Position: 12}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewTaskRefuses(t *testing.T) {
	day, before := domain.Date("2026-02-01"), domain.Date("2026-01-31")
	never, minus, much := domain.Date("2026-02-30"), -1, domain.MaxEstimate+1
	for name, c := range map[string]struct {
		task domain.TaskCreated
		at   string
	}{
		"no title":         {domain.TaskCreated{}, "/title"},
		"blank title":      {domain.TaskCreated{Title: " \t\n"}, "/title"},
		"long title":       {domain.TaskCreated{Title: strings.Repeat("é", domain.MaxTitle+1)}, "/title"},
		"NUL":              {domain.TaskCreated{Title: "a\x00b"}, "/title"},
		"not UTF-8":        {domain.TaskCreated{Title: "a\xff"}, "/title"},
		"long description": {domain.TaskCreated{Title: "a", Description: strings.Repeat("a", domain.MaxBody+1)}, "/description"},
		"status":           {domain.TaskCreated{Title: "a", Status: "Open"}, "/status"},
		"priority":         {domain.TaskCreated{Title: "a", Priority: "asap"}, "/priority"},
		"no such day":      {domain.TaskCreated{Title: "a", DueOn: &never}, "/due_on"},
		"due before start": {domain.TaskCreated{Title: "a", StartOn: &day, DueOn: &before}, "/due_on"},
		"negative":         {domain.TaskCreated{Title: "a", EstimateMinutes: &minus}, "/estimate_minutes"},
		"endless":          {domain.TaskCreated{Title: "a", EstimateMinutes: &much}, "/estimate_minutes"},
		"a crowd":          {domain.TaskCreated{Title: "a", AssigneeIDs: make([]uuid.UUID, domain.MaxPeople+1)}, "/assignee_ids"},
	} {
		events, err := domain.NewTask(c.task)
		if at := refused(t, err); at != c.at || events != nil {
			t.Errorf("%s: %v, refused at %q, want %q", name, events, at, c.at)
		}
	}
	if _, err := domain.NewTask(domain.TaskCreated{Title: strings.Repeat("é", domain.MaxTitle), StartOn: &day, DueOn: &day}); err != nil {
		t.Errorf("the longest title: %v", err)
	}
}

func TestTaskChange(t *testing.T) {
	task := taskOf(domain.TaskCreated{Title: "A", Status: "open", Priority: "none", AssigneeIDs: []uuid.UUID{ann}})
	done := taskOf(domain.TaskCreated{Title: "A", Status: "open", Priority: "none"}, domain.TaskCompleted{})
	text := func(s string) *string { return &s }
	people := func(ids ...uuid.UUID) *[]uuid.UUID { return &ids }
	for name, c := range map[string]struct {
		task   domain.Task
		change domain.TaskChange
		want   []domain.Event
	}{
		"nothing":         {task, domain.TaskChange{}, nil},
		"to what it is":   {task, domain.TaskChange{Title: text("A"), Status: text("open"), AssigneeIDs: people(ann)}, nil},
		"cleared already": {task, domain.TaskChange{DueOn: domain.Optional[domain.Date]{Set: true}}, nil},
		"title":           {task, domain.TaskChange{Title: text("B")}, []domain.Event{domain.TaskUpdated{Title: text("B")}}},
		"done":            {task, domain.TaskChange{Status: text("done")}, []domain.Event{domain.TaskCompleted{}}},
		"started":         {task, domain.TaskChange{Status: text("in_progress")}, []domain.Event{domain.TaskUpdated{Status: text("in_progress")}}},
		"not done":        {done, domain.TaskChange{Status: text("cancelled")}, []domain.Event{domain.TaskReopened{Status: "cancelled"}}},
		"another":         {task, domain.TaskChange{AssigneeIDs: people(bob, bob)}, []domain.Event{domain.TaskUnassigned{MemberID: ann}, domain.TaskAssigned{MemberID: bob}}},
	} {
		got, err := c.task.Change(c.change, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, c := range map[string]struct {
		change domain.TaskChange
		at     string
	}{
		"own parent": {domain.TaskChange{ParentID: domain.To(one)}, "/parent_id"},
		"no title":   {domain.TaskChange{Title: text("")}, "/title"},
		"status":     {domain.TaskChange{Status: text("finished")}, "/status"},
	} {
		if _, err := task.Change(c.change, nil); refused(t, err) != c.at {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same change a second time gives no events.
func TestTaskChangeIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		task := taskOf(domain.TaskCreated{Title: "A", Status: "open", Priority: "none"})
		status, priority := rapid.SampledFrom(domain.TaskStatuses), rapid.SampledFrom(domain.TaskPriorities)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			change := domain.TaskChange{}
			if rapid.Bool().Draw(t, "status?") {
				s := status.Draw(t, "status")
				change.Status = &s
			}
			if rapid.Bool().Draw(t, "priority?") {
				p := priority.Draw(t, "priority")
				change.Priority = &p
			}
			if rapid.Bool().Draw(t, "people?") {
				ids := rapid.SliceOfN(rapid.SampledFrom([]uuid.UUID{ann, bob}), 0, 3).Draw(t, "people")
				change.AssigneeIDs = &ids
			}
			events, err := task.Change(change, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				task.Apply(domain.Record{Version: task.Version + 1, Stream: domain.TaskStream(one), Event: e})
			}
			if again, err := task.Change(change, nil); err != nil || len(again) != 0 {
				t.Fatalf("%+v again gives %v, %v", change, again, err)
			}
			if (task.Status == "done") != (task.CompletedAt != nil) {
				t.Fatalf("status %s, completed at %v", task.Status, task.CompletedAt)
			}
		}
	})
}
