package promises

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// total is one of the totals of time, with what it is of in one text.
type total struct{ Minutes, BillableMinutes, Cents int }

func (c *client) totals(t *testing.T, by, filter string) map[string]total {
	t.Helper()
	items := decode[struct {
		Items []struct {
			MemberID         *uuid.UUID `json:"member_id"`
			ProjectID        *uuid.UUID `json:"project_id"`
			TaskID           *uuid.UUID `json:"task_id"`
			TagID            *uuid.UUID `json:"tag_id"`
			Day, Week, Month string
			Minutes, Cents   int
			BillableMinutes  int `json:"billable_minutes"`
		}
	}](t, c.call(t, "GET", "/api/time-entries/totals?by="+by+filter, nil).want(t, 200)).Items
	all := map[string]total{}
	for _, i := range items {
		var of []string
		for _, by := range strings.Split(by, ",") {
			of = append(of, map[string]string{"member": idOr(i.MemberID), "project": idOr(i.ProjectID), "task": idOr(i.TaskID), "tag": idOr(i.TagID), "day": i.Day, "week": i.Week, "month": i.Month}[by])
		}
		key := strings.Join(of, " ")
		if _, twice := all[key]; twice {
			t.Errorf("by %s: %s is there twice", by, key)
		}
		all[key] = total{i.Minutes, i.BillableMinutes, i.Cents}
	}
	return all
}

// idOr is an id as a text, or none.
func idOr(id *uuid.UUID) string {
	if id == nil {
		return "none"
	}
	return id.String()
}

// days cuts an entry at midnight in Brussels, by another way than the SQL does: second by second of what the clock there shows.
func days(entry domain.TimeEntry) map[string]total {
	rate := 0
	if entry.Billable && entry.HourlyRateCents != nil {
		rate = *entry.HourlyRateCents
	}
	upto := map[string]int{} // seconds from the start to the end of what is in a day
	var order []string
	for at := entry.Start; at.Before(*entry.End); at = at.Add(time.Second) {
		day := at.In(domain.Brussels).Format(time.DateOnly)
		if _, begun := upto[day]; !begun {
			order = append(order, day)
		}
		upto[day] = int(at.Add(time.Second).Sub(entry.Start).Seconds())
	}
	all, minutes, cents := map[string]total{}, 0, 0
	for _, day := range order {
		m := (upto[day] + 30) / 60
		c := (m*rate + 30) / 60
		part := total{Minutes: m - minutes, Cents: c - cents}
		if entry.Billable {
			part.BillableMinutes = part.Minutes
		}
		all[day], minutes, cents = part, m, c
	}
	return all
}

// Totals are the sum of what the list shows, to the minute and to the cent, for everybody, by whatever they are asked.
func TestTotalsAreTheSum(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	ada.call(t, "PATCH", "/api/workspace", object{"time_overlap": true, "hourly_rate_cents": 7_777}).want(t, 200)
	bob, mia := ada.member(t, "member"), ada.member(t, "auditor")
	projects := []apiProject{ada.newProject(t, object{"hourly_rate_cents": 9_001}), ada.newProject(t)}
	red, green, old := ada.newTag(t, "red"), ada.newTag(t, "green"), ada.newTag(t, "old")
	tasks := []domain.Task{ada.newTask(t, object{"project_id": projects[0].ID, "tag_ids": []uuid.UUID{red.ID, green.ID}}),
		ada.newTask(t, object{"project_id": projects[1].ID, "tag_ids": []uuid.UUID{old.ID, red.ID}}), ada.newTask(t)}
	ada.call(t, "POST", tagPath(old, "merge"), object{"into": red.ID}).want(t, 204)
	tags := map[uuid.UUID][]string{tasks[0].ID: {red.ID.String(), green.ID.String()}, tasks[1].ID: {red.ID.String()}, tasks[2].ID: {"none"}}
	// About the two changes of the clocks, the new year, and an entry that is in three days, of which one has 23 hours.
	starts := []string{"2026-03-28T23:30:00", "2026-03-28T20:00:07", "2026-10-24T23:59:31", "2026-10-25T01:30:00", "2025-12-31T22:00:00", "2026-02-28T23:59:59"}
	add := func(start string, seconds int, who *client, more object) {
		at := must(time.ParseInLocation("2006-01-02T15:04:05", start, domain.Brussels))
		ada.newTime(t, object{"start": at.Format(time.RFC3339), "end": at.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339), "minutes": nil, "member_id": who.id}, more)
	}
	add("2026-03-28T23:30:00", 86_400, bob, object{"task_id": tasks[0].ID})
	for i := range 40 {
		of := []object{{"task_id": tasks[0].ID}, {"task_id": tasks[1].ID}, {"task_id": tasks[2].ID}, {"project_id": projects[1].ID}, {}}[i%5]
		of["billable"] = i%3 > 0
		add(starts[rand.N(len(starts))], 1+rand.N(86_400), []*client{ada, bob}[i%2], of)
	}
	for i, entry := range pages[domain.TimeEntry](t, ada, "/api/time-entries", 200)[:12] {
		switch i % 4 {
		case 0:
			ada.call(t, "DELETE", timePath(entry), nil).want(t, 204)
		case 1:
			ada.call(t, "PATCH", timePath(entry), object{"billable": !entry.Billable}).want(t, 200)
		case 2:
			ada.call(t, "PATCH", timePath(entry), object{"task_id": tasks[2].ID, "project_id": nil}).want(t, 200)
		case 3:
			ada.call(t, "PATCH", timePath(entry), object{"start": entry.Start.Add(-time.Hour).Format(time.RFC3339), "minutes": 500}).want(t, 200)
		}
	}
	ada.call(t, "POST", "/api/timer/start", nil).want(t, 201)
	ada.call(t, "DELETE", taskPath(tasks[1]), nil).want(t, 204) // time stays

	cut := map[uuid.UUID]map[string]total{}
	for _, entry := range pages[domain.TimeEntry](t, ada, "/api/time-entries?running=false", 200) {
		cut[entry.ID] = days(entry)
	}
	for _, who := range []*client{ada, bob, mia} {
		for _, filter := range []string{"", "&from=2026-03-29&to=2026-03-29", "&to=2026-03-28", "&from=2026-10-25", "&billable=true", "&member_id=" + bob.id.String(),
			"&project_id=" + projects[0].Key + ",none", "&task_id=" + tasks[1].ID.String(), "&tag_id=" + red.ID.String()} {
			query := must(url.ParseQuery(filter))
			inside := func(day string) bool {
				return (query.Get("from") == "" || day >= query.Get("from")) && (query.Get("to") == "" || day <= query.Get("to"))
			}
			shown := pages[domain.TimeEntry](t, who, "/api/time-entries?running=false"+filter, 200)
			for _, by := range []string{"member", "project", "task", "tag", "day", "week", "month", "member,month", "project,tag,week", "day,task,member", "month,week"} {
				want := map[string]total{}
				for _, entry := range shown {
					for day, part := range cut[entry.ID] {
						if !inside(day) {
							continue
						}
						tagged := []string{"none"}
						if entry.TaskID != nil && strings.Contains(by, "tag") {
							tagged = tags[*entry.TaskID]
						}
						for _, tag := range tagged {
							year, week := must(time.Parse(time.DateOnly, day)).ISOWeek()
							var of []string
							for _, by := range strings.Split(by, ",") {
								of = append(of, map[string]string{"member": entry.MemberID.String(), "project": idOr(entry.ProjectID), "task": idOr(entry.TaskID), "tag": tag,
									"day": day, "week": fmt.Sprintf("%d-W%02d", year, week), "month": day[:7]}[by])
							}
							sum := want[strings.Join(of, " ")]
							want[strings.Join(of, " ")] = total{sum.Minutes + part.Minutes, sum.BillableMinutes + part.BillableMinutes, sum.Cents + part.Cents}
						}
					}
				}
				if diff := cmp.Diff(want, who.totals(t, by, filter)); diff != "" {
					t.Errorf("%s, by %s%s: %s", who.name, by, filter, diff)
				}
			}
		}
		all := total{}
		for _, entry := range pages[domain.TimeEntry](t, who, "/api/time-entries?running=false", 200) {
			all.Minutes, all.Cents = all.Minutes+*entry.Minutes, all.Cents+entry.AmountCents
		}
		got := decode[struct{ Items []total }](t, who.call(t, "GET", "/api/time-entries/totals", nil).want(t, 200)).Items
		if len(got) != 1 || got[0].Minutes != all.Minutes || got[0].Cents != all.Cents {
			t.Errorf("%s: all are %+v, the list has %+v", who.name, got, all)
		}
	}
	eve := ada.member(t, "viewer")
	if got := eve.totals(t, "member", ""); len(got) != 0 {
		t.Errorf("somebody who worked nothing sees %v", got)
	}
	ada.call(t, "GET", "/api/time-entries/totals?by=year", nil).want(t, 422)
	if keys := slices.Collect(func(yield func(string) bool) {
		for key := range ada.totals(t, "day", "&from=2026-03-28&to=2026-03-30&project_id="+projects[0].Key) {
			yield(key)
		}
	}); len(keys) < 3 {
		t.Errorf("an entry that is in three days is in %v", keys)
	}
}
