package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

func TestLifeOfATimeEntry(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	project := ada.newProject(t, object{"hourly_rate_cents": 9_001})
	other := ada.newProject(t)
	task := ada.newTask(t, object{"project_id": project.ID})
	w := &walk{ada, t, ada.head(t)}
	entry := decode[domain.TimeEntry](t, w.step("POST", "/api/time-entries",
		object{"task_id": task.ID, "start": "2026-03-02T09:00:00", "end": "2026-03-02T09:29:30+01:00", "activity": "design"}, 201, 2))
	is := func(what string, got domain.TimeEntry, minutes, cents, version int) {
		t.Helper()
		if *got.Minutes != minutes || got.AmountCents != cents || got.Version != version {
			t.Errorf("%s: %d minutes, %d cents, version %d: %+v", what, *got.Minutes, got.AmountCents, got.Version, got)
		}
		if shown := decode[domain.TimeEntry](t, ada.call(t, "GET", timePath(entry), nil).want(t, 200)); !cmp.Equal(shown, got) {
			t.Errorf("%s: %s", what, cmp.Diff(shown, got))
		}
		if listed := decode[list[domain.TimeEntry]](t, ada.call(t, "GET", "/api/time-entries", nil).want(t, 200)).Items; !cmp.Equal(listed, []domain.TimeEntry{got}) {
			t.Errorf("%s: listed %+v", what, listed)
		}
	}
	patch := func(body object, events int) domain.TimeEntry {
		t.Helper()
		return decode[domain.TimeEntry](t, w.step("PATCH", timePath(entry), body, 200, events))
	}
	is("made", entry, 30, 4_501, 1) // 4500.5 cents: half a cent counts as one
	if entry.Start != time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC) || *entry.ProjectID != project.ID || entry.MemberID != ada.id {
		t.Errorf("%+v", entry)
	}
	is("nothing", patch(object{}, 0), 30, 4_501, 1)
	is("as it is", patch(object{"task_id": task.ID, "project_id": project.ID, "start": "2026-03-02T08:00:00Z", "minutes": 30, "activity": "design"}, 2), 30, 4_501, 2) // the end was 30 s before
	is("longer", patch(object{"minutes": 60}, 2), 60, 9_001, 3)
	is("later", patch(object{"start": "2026-03-02T09:30"}, 1), 30, 4_501, 4)
	is("not billable", patch(object{"billable": false, "activity": "talk"}, 1), 30, 0, 5)
	ada.call(t, "PATCH", timePath(entry), object{"project_id": other.ID}).problem(t, 422, "invalid")
	ada.call(t, "PATCH", timePath(entry), object{"project_id": nil}).problem(t, 422, "invalid")
	is("without a rate", patch(object{"task_id": nil, "project_id": other.ID, "billable": true}, 2), 30, 0, 6)
	is("back", patch(object{"task_id": task.ID}, 2), 30, 4_501, 7)
	w.last = ada.head(t)

	ada.call(t, "PATCH", taskPath(task), object{"project_id": other.ID}).want(t, 200) // moved: the time stays with the project
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)                           // gone: the time was worked
	w.last = ada.head(t)
	is("its task is gone", patch(object{"activity": "x"}, 1), 30, 4_501, 8)
	w.step("DELETE", timePath(entry), nil, 204, 1)
	for _, gone := range []request{{"GET", timePath(entry), nil}, {"PATCH", timePath(entry), object{"activity": "x"}}, {"DELETE", timePath(entry), nil}} {
		gone.send(t, ada).problem(t, 404, "time_entry_not_found")
	}
	var story []string
	for _, what := range types(ada.story(t, timePath(entry))) {
		story = append(story, strings.TrimPrefix(what, "time_entry."))
	}
	if diff := cmp.Diff(strings.Fields("created updated updated updated updated updated updated updated deleted"), story); diff != "" {
		t.Error(diff)
	}
	long := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	ada.call(t, "GET", timePath(entry)+"?as_of="+long, nil).problem(t, 404, "time_entry_not_found")
	was := decode[domain.TimeEntry](t, ada.call(t, "GET", timePath(entry)+"?as_of="+entry.CreatedAt.Format(time.RFC3339Nano), nil).want(t, 200))
	if !cmp.Equal(was, entry) {
		t.Errorf("as it was: %s", cmp.Diff(was, entry))
	}
	ada.judge(t)
	ada.noDrift(t)
}

// A timer runs only while its member is active: it stops with a deactivation, a removal and an erasure, at that moment, and at most a day after it
// began. A timer in locked time stays as it is, and so does time that was stopped before.
func TestTimersStopWithTheirMember(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	project := ada.newProject(t, object{"hourly_rate_cents": 6_000})
	running := func(c *client, ago time.Duration) domain.TimeEntry {
		entry := decode[domain.TimeEntry](t, c.call(t, "POST", "/api/timer/start", object{"project_id": project.ID}).want(t, 201))
		return decode[domain.TimeEntry](t, c.call(t, "PATCH", timePath(entry), object{"start": entry.Start.Add(-ago).Format(time.RFC3339)}).want(t, 200))
	}
	now := func(entry domain.TimeEntry) domain.TimeEntry {
		return decode[domain.TimeEntry](t, ada.on(p[1]).call(t, "GET", timePath(entry), nil).want(t, 200))
	}
	for name, end := range map[string]func(c *client) request{
		"deactivated": func(c *client) request { return request{"POST", "/api/members/" + c.id.String() + "/deactivate", nil} },
		"removed":     func(c *client) request { return request{"DELETE", "/api/members/" + c.id.String(), nil} },
		"erased":      func(c *client) request { return request{"POST", "/api/members/" + c.id.String() + "/erase", nil} },
	} {
		bob := ada.member(t, "member")
		before := bob.newTime(t)
		timer := running(bob, 90*time.Minute)
		done := end(bob).send(t, ada)
		if done.status/100 != 2 || done.position(t) != ada.head(t) {
			t.Fatalf("%s: %d %s", name, done.status, done.body)
		}
		got := now(timer)
		if got.End == nil || *got.Minutes != 90 && *got.Minutes != 91 || got.AmountCents != *got.Minutes*100 {
			t.Errorf("%s: %+v", name, got)
		}
		if again := now(before); !cmp.Equal(again, before) {
			t.Errorf("%s, the entry of before: %s", name, cmp.Diff(before, again))
		}
		long := ada.member(t, "member")
		timer = running(long, 30*time.Hour)
		end(long).send(t, ada)
		if got := now(timer); got.End == nil || got.End.Sub(got.Start) != 24*time.Hour {
			t.Errorf("%s after 30 hours: %+v", name, got)
		}
	}
	eve := ada.member(t, "member")
	locked := running(eve, 60*time.Hour)
	ada.call(t, "PATCH", "/api/workspace", object{"time_locked_before": time.Now().Add(-30 * time.Hour).Format(time.DateOnly)}).want(t, 200)
	ada.call(t, "POST", "/api/members/"+eve.id.String()+"/deactivate", nil).want(t, 200)
	if got := now(locked); got.End != nil {
		t.Errorf("in locked time: %+v", got)
	}
	for range 10 { // a timer that starts at the same moment
		zoe := ada.member(t, "member")
		parallel(2, func(i int) {
			if i == 0 {
				ada.call(t, "POST", "/api/members/"+zoe.id.String()+"/deactivate", nil).want(t, 200)
			} else {
				zoe.on(p[1]).call(t, "POST", "/api/timer/start", object{})
			}
		})
	}
	ada.judge(t)
	ada.noDrift(t)
}

// A project with time entries is not deleted, since they may be on a bill.
func TestProjectsWithTimeStay(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	project, other := ada.newProject(t), ada.newProject(t)
	entry := ada.newTime(t, object{"project_id": project.ID})
	ada.call(t, "DELETE", project.path(), nil).problem(t, 409, "project_has_time")
	ada.call(t, "PATCH", timePath(entry), object{"project_id": other.ID}).want(t, 200)
	ada.call(t, "DELETE", other.path(), nil).problem(t, 409, "project_has_time")
	ada.call(t, "DELETE", project.path(), nil).want(t, 204)
	ada.call(t, "DELETE", timePath(entry), nil).want(t, 204)
	ada.call(t, "DELETE", other.path(), nil).want(t, 204)
	timed := ada.newProject(t)
	ada.call(t, "POST", "/api/timer/start", object{"project_id": timed.ID}).want(t, 201)
	ada.call(t, "DELETE", timed.path(), nil).problem(t, 409, "project_has_time")
	ada.judge(t)
	ada.noDrift(t)
}

// A project shows what was spent on it to those who may read all of its time.
func TestSpent(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "member")
	project := ada.newProject(t, object{"hourly_rate_cents": 9_001, "budget_minutes": 600, "budget_cents": 90_000})
	for range 3 {
		bob.newTime(t, object{"project_id": project.ID, "minutes": 30})
	}
	ada.call(t, "DELETE", timePath(bob.newTime(t, object{"project_id": project.ID})), nil).want(t, 204)
	script, _ := bob.newToken(t, domain.Grant{Resource: "project", Action: "read", Scope: domain.All}, domain.Grant{Resource: "time_entry", Action: "read", Scope: domain.Own})
	for _, c := range []struct {
		who  *client
		sees bool
	}{{ada, true}, {bob, false}, {script, false}} {
		got := decode[struct {
			SpentMinutes *int `json:"spent_minutes"`
			SpentCents   *int `json:"spent_cents"`
		}](t, c.who.call(t, "GET", project.path(), nil).want(t, 200))
		if (got.SpentMinutes != nil) != c.sees || c.sees && (*got.SpentMinutes != 90 || *got.SpentCents != 3*4_501) {
			t.Errorf("%s: %+v", c.who.name, got)
		}
	}
	if was := ada.call(t, "GET", project.path()+"?as_of="+project.CreatedAt.Format(time.RFC3339Nano), nil).want(t, 200); !strings.Contains(string(was.body), `"spent_minutes":null`) {
		t.Errorf("%s", was.body)
	}
}

// Times without an offset are those of the clocks of Brussels, which skip an hour in spring and show one twice in autumn.
func TestTimesAreThoseOfBrussels(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	for _, c := range []struct {
		start, end string
		minutes    int // 0: refused
		says       string
	}{
		{"2026-03-29T01:30:00", "2026-03-29T03:30:00", 60, ""},
		{"2026-10-25T01:30:00", "2026-10-25T03:30:00", 180, ""},
		{"2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00", 60, ""},
		{"2026-01-01T23:30", "2026-01-02T00:30", 60, ""},
		{"2026-07-01T12:00:00", "2026-07-01T10:30:00Z", 30, ""},
		{"2026-07-02T12:00:00.999", "2026-07-02T12:01:29.001", 1, ""},
		{"2026-07-03T12:00+02:00", "2026-07-03t10:30:00z", 30, ""},
		{"2025-03-29T12:00:00", "2025-03-30T13:00:00", 1440, ""},
		{"2026-03-29T02:30:00", "2026-03-29T03:30:00", 0, "never came in Brussels, where the clocks were changed: give it with an offset, 2026-03-29T02:30:00+01:00 or 2026-03-29T02:30:00+02:00"},
		{"2026-10-25T02:30:00", "2026-10-25T03:30:00", 0, "came twice in Brussels, where the clocks were changed: give it with an offset, 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"},
		{"2026-08-01T10:00:00", "2026-08-01T10:00:00", 0, "after the start"},
		{"2026-08-01T10:00:00", "2026-08-01T09:00:00", 0, "after the start"},
		{"2026-08-01T10:00:00", "2026-08-02T10:00:01", 0, "at most 24 hours"},
		{"2026-10-24T12:00:00", "2026-10-25T12:00:00", 0, "at most 24 hours"}, // the day had 25
		{"2026-08-01T10:00:00", "tomorrow at ten..", 0, "an instant such as"},
		{"2026-02-30T10:00:00", "2026-02-30T11:00:00", 0, "an instant such as"},
		{"2026-08-01 10:00:00", "2026-08-01 11:00:00", 0, "an instant such as"},
		{"0000-08-01T10:00:00Z", "0000-08-01T11:00:00Z", 0, "an instant such as"},
		{"9999-12-31T23:30:00-12:00", "9999-12-31T23:50:00-12:00", 0, "an instant such as"},
		{"1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z", 1, ""},
		{"1969-12-31T23:59:59Z", "1970-01-01T00:01:00Z", 0, "at most a year from now"},
		{"0001-08-01T10:00:00Z", "0001-08-01T11:00:00Z", 0, "at most a year from now"},
		{"3026-08-01T10:00:00Z", "3026-08-01T11:00:00Z", 0, "at most a year from now"},
	} {
		a := ada.call(t, "POST", "/api/time-entries", object{"start": c.start, "end": c.end})
		if c.minutes == 0 {
			if p := a.problem(t, 422, "invalid"); !strings.Contains(p.Errors[0].Detail, c.says) {
				t.Errorf("%s to %s: %s", c.start, c.end, a.body)
			}
			continue
		}
		if got := decode[domain.TimeEntry](t, a.want(t, 201)); *got.Minutes != c.minutes {
			t.Errorf("%s to %s: %s", c.start, c.end, a.body)
		}
	}
	for _, body := range []object{{"start": "2026-08-01T10:00"}, {"start": "2026-08-01T10:00", "end": "2026-08-01T11:00", "minutes": 60}, {"start": "2026-08-01T10:00:00+24:00", "minutes": 1},
		{"start": "2026-08-01T10:00", "minutes": 0}, {"start": "2026-08-01T10:00", "minutes": 1441}, {"minutes": 60}, {"start": "2026-08-01T8:00:00Z", "minutes": 1}} {
		ada.call(t, "POST", "/api/time-entries", body).want(t, 422)
	}

	// Leave is planned for months; a slip in the year is refused wherever a start is given.
	away := func(years, days int) object {
		start := time.Now().UTC().AddDate(years, 0, days)
		return object{"start": start.Format(time.RFC3339), "minutes": 60}
	}
	planned := ada.newTime(t, away(1, -2))
	ada.call(t, "POST", "/api/time-entries", away(1, 2)).refusedAs(t, "planned too far ahead", 422, "/start")
	ada.call(t, "PATCH", timePath(planned), away(100, 0)).refusedAs(t, "moved too far ahead", 422, "/start")
	ada.call(t, "DELETE", timePath(planned), nil).want(t, 204) // a timer takes all time from its start
	running := decode[domain.TimeEntry](t, ada.call(t, "POST", "/api/timer/start", object{}).want(t, 201))
	ada.call(t, "PATCH", timePath(running), object{"start": "0026-11-27T10:00:00Z"}).refusedAs(t, "a timer of long ago", 422, "/start")
}

// However many write down time of one member at once, in several processes: no two entries overlap, and one timer runs.
func TestTimeOfOneMemberIsTakenOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	for round := range 5 {
		start := time.Date(2026, 1, 1+round, 8, 0, 0, 0, time.UTC)
		statuses := make([]int, 12)
		parallel(len(statuses), func(i int) { // each overlaps the next: at most every other one is taken
			from := start.Add(time.Duration(i) * 30 * time.Minute)
			statuses[i] = ada.on(p[i%2]).call(t, "POST", "/api/time-entries", object{"member_id": bob.id, "start": from.Format(time.RFC3339), "minutes": 45}).status
		})
		for i, status := range statuses {
			if status != 201 && status != 409 || status == 201 && i > 0 && statuses[i-1] == 201 || status == 409 && (i == 0 || statuses[i-1] == 409) && (i == 11 || statuses[i+1] == 409) {
				t.Fatalf("round %d: %v", round, statuses)
			}
		}
	}
	for round := range 3 {
		started := make([]int, 10)
		parallel(len(started), func(i int) {
			started[i] = bob.on(p[i%2]).call(t, "POST", "/api/timer/start", object{"activity": fmt.Sprint(i)}).status
		})
		running := 0
		for _, status := range started {
			if status == 201 {
				running++
			} else if status != 409 {
				t.Errorf("%v", started)
			}
		}
		if running != 1 {
			t.Fatalf("round %d: %d timers run: %v", round, running, started)
		}
		bob.call(t, "POST", "/api/timer/start", nil).problem(t, 409, "timer_running")
		stopped := make([]int, 10)
		parallel(len(stopped), func(i int) { stopped[i] = bob.on(p[i%2]).call(t, "POST", "/api/timer/stop", nil).status })
		if once := count(stopped, 200); once != 1 || once+count(stopped, 409) != len(stopped) {
			t.Fatalf("round %d: stopped %v", round, stopped)
		}
	}
	bob.call(t, "POST", "/api/timer/stop", nil).problem(t, 409, "timer_not_running")
	ada.judge(t)
	ada.noDrift(t)
}

func count(statuses []int, wanted int) (n int) {
	for _, status := range statuses {
		if status == wanted {
			n++
		}
	}
	return n
}

func TestTimer(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "member")
	type timer struct{ Running *domain.TimeEntry }
	runs := func(c *client) *domain.TimeEntry {
		t.Helper()
		return decode[timer](t, c.call(t, "GET", "/api/timer", nil).want(t, 200)).Running
	}
	if runs(ada) != nil {
		t.Error("a timer runs")
	}
	started := decode[domain.TimeEntry](t, ada.call(t, "POST", "/api/timer/start", object{"task_id": ada.newTask(t).ID, "activity": "x"}).want(t, 201))
	if got := runs(ada); !cmp.Equal(got, &started) || got.End != nil || got.Minutes != nil || runs(bob) != nil {
		t.Errorf("%+v", got)
	}
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ada.call(t, "POST", "/api/time-entries", object{"start": later, "minutes": 5}).problem(t, 409, "time_overlap")
	ada.call(t, "PATCH", timePath(started), object{"start": later}).problem(t, 422, "invalid")
	long := time.Now().Add(-30 * time.Hour).UTC().Truncate(time.Second)
	ada.call(t, "PATCH", timePath(started), object{"start": long.Format(time.RFC3339)}).want(t, 200)
	ada.call(t, "POST", "/api/timer/stop", nil).problem(t, 409, "timer_too_long")
	ada.call(t, "POST", "/api/timer/stop", object{"end": long.Add(-time.Hour).Format(time.RFC3339)}).problem(t, 422, "invalid")
	stopped := decode[domain.TimeEntry](t, ada.call(t, "POST", "/api/timer/stop", object{"end": long.Add(90 * time.Minute).Format(time.RFC3339)}).want(t, 200))
	if *stopped.Minutes != 90 || stopped.ID != started.ID || runs(ada) != nil {
		t.Errorf("%+v", stopped)
	}
	ada.call(t, "POST", "/api/time-entries", object{"start": later, "minutes": 5}).want(t, 201)
	ada.call(t, "POST", "/api/timer/start", nil).problem(t, 409, "time_overlap") // it would take the time of the entry to come
	bob.call(t, "POST", "/api/timer/start", nil).want(t, 201)
	bobs := runs(bob)
	bob.call(t, "PATCH", timePath(*bobs), object{"end": time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}).want(t, 200)
	if runs(bob) != nil {
		t.Error("an end stops a timer")
	}
	bob.call(t, "POST", "/api/timer/stop", nil).problem(t, 409, "timer_not_running")
	ada.judge(t)
}

// Everybody may see and write down their own time; managers that of all.
func TestWhoMayWhatOfTime(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob, eve := ada.member(t, "member"), ada.member(t, "member")
	mia := ada.member(t, "manager")
	task := ada.newTask(t)
	bobs := bob.newTime(t, object{"task_id": task.ID})
	bob.call(t, "POST", "/api/time-entries", object{"member_id": eve.id, "start": someHour(), "minutes": 1}).problem(t, 403, "forbidden")
	eve.call(t, "GET", timePath(bobs), nil).problem(t, 404, "time_entry_not_found")
	eve.call(t, "PATCH", timePath(bobs), object{"activity": "x"}).problem(t, 404, "time_entry_not_found")
	eve.call(t, "DELETE", timePath(bobs), nil).problem(t, 404, "time_entry_not_found")
	eve.call(t, "GET", timePath(bobs, "history"), nil).problem(t, 404, "time_entry_not_found")
	if items := decode[list[domain.TimeEntry]](t, eve.call(t, "GET", "/api/time-entries", nil).want(t, 200)).Items; len(items) != 0 {
		t.Errorf("%+v", items)
	}
	for _, nowhere := range []object{{"member_id": uuid.New()}, {"task_id": uuid.New()}, {"project_id": uuid.New()}} {
		nowhere["start"], nowhere["minutes"] = someHour(), 1
		mia.call(t, "POST", "/api/time-entries", nowhere).problem(t, 422, "invalid")
	}
	entry := mia.newTime(t, object{"member_id": bob.id})
	if entry.MemberID != bob.id || entry.CreatedBy != mia.id {
		t.Errorf("%+v", entry)
	}
	bob.call(t, "PATCH", timePath(entry), object{"activity": "mine"}).want(t, 200)
	mia.call(t, "PATCH", timePath(bobs), object{"activity": "yours"}).want(t, 200)
	ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "viewer"}).want(t, 200)
	if items := decode[list[domain.TimeEntry]](t, bob.call(t, "GET", "/api/time-entries", nil).want(t, 200)).Items; len(items) != 2 {
		t.Errorf("what one worked one sees, of whatever task: %+v", items)
	}
	bob.call(t, "PATCH", timePath(entry), object{"activity": "x"}).problem(t, 403, "forbidden")
	bob.call(t, "POST", "/api/timer/start", nil).problem(t, 403, "forbidden")
	project := ada.newProject(t)
	ada.call(t, "PATCH", project.path(), object{"status": "archived"}).want(t, 200)
	mia.call(t, "POST", "/api/time-entries", object{"project_id": project.ID, "start": someHour(), "minutes": 1}).problem(t, 409, "project_archived")
	ada.judge(t)
}

func TestTimeEntriesAreFiltered(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "member")
	project := ada.newProject(t)
	tag := ada.newTag(t, "t")
	tagged := ada.newTask(t, object{"project_id": project.ID, "tag_ids": []uuid.UUID{tag.ID}})
	add := func(start string, minutes int, more object) domain.TimeEntry {
		return ada.newTime(t, object{"start": start, "minutes": minutes}, more)
	}
	a := add("2026-03-02T23:00", 120, object{"task_id": tagged.ID})                             // over midnight
	b := add("2026-03-03T08:00", 60, object{"project_id": project.ID, "billable": false})       //
	c := add("2026-03-03T08:00", 60, object{"member_id": bob.id, "task_id": ada.newTask(t).ID}) //
	d := add("2026-03-04T00:00", 60, nil)
	e := decode[domain.TimeEntry](t, bob.call(t, "POST", "/api/timer/start", nil).want(t, 201))
	for query, want := range map[string][]domain.TimeEntry{
		"":                             {e, d, c, b, a},
		"member_id=" + bob.id.String(): {e, c},
		"member_id=" + bob.id.String() + "," + ada.id.String(): {e, d, c, b, a},
		"task_id=" + tagged.ID.String():                        {a},
		"project_id=" + project.ID.String():                    {b, a},
		"tag_id=" + tag.ID.String():                            {a},
		"billable=false":                                       {b},
		"running=true":                                         {e},
		"running=false":                                        {d, c, b, a},
		"to=2026-03-02":                                        {a},
		"from=2026-03-03&to=2026-03-03":                        {c, b, a},
		"from=2026-03-04&to=2026-03-04":                        {d},
		"from=2026-03-05":                                      {e},
		"from=2026-03-03&to=2026-03-03&billable=true&running=false&member_id=" + ada.id.String(): {a},
	} {
		got := decode[list[domain.TimeEntry]](t, ada.call(t, "GET", "/api/time-entries?"+query, nil).want(t, 200)).Items
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, query := range []string{"from=0001-01-01", "to=9999-12-31", "from=9999-12-31&to=0001-01-01", "sort=-start", "sort=start,-created_at"} {
		ada.call(t, "GET", "/api/time-entries?"+query, nil).want(t, 200)
		if !strings.HasPrefix(query, "sort") {
			ada.call(t, "GET", "/api/time-entries/totals?by=day&"+query, nil).want(t, 200)
		}
	}
	for _, query := range []string{"from=2026-02-30", "to=yesterday", "running=perhaps", "member_id=x"} {
		ada.call(t, "GET", "/api/time-entries?"+query, nil).want(t, 422)
	}
}

// What is locked stays as it is, for everybody, until the lock is lifted; what overlaps is refused where it is not allowed.
func TestTimeRules(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	mia := ada.member(t, "manager")
	rules := func(body object) { ada.call(t, "PATCH", "/api/workspace", body).want(t, 200) }
	// The day begins in Brussels: at 23:00 of the day before in UTC.
	before, on := mia.newTime(t, object{"start": "2026-02-28T22:59:59Z", "minutes": 2}), mia.newTime(t, object{"start": "2026-02-28T23:02:00Z"})
	mia.call(t, "PATCH", "/api/workspace", object{"time_locked_before": "2026-03-01"}).problem(t, 403, "forbidden")
	rules(object{"time_locked_before": "2026-03-01"})
	for _, c := range []*client{ada, mia} {
		for _, late := range []request{
			{"POST", "/api/time-entries", object{"start": "2026-02-28T20:00:00", "minutes": 1}},
			{"PATCH", timePath(before), object{"activity": "x"}}, {"PATCH", timePath(before), object{"start": "2026-03-02T10:00:00", "minutes": 1}},
			{"PATCH", timePath(on), object{"start": "2026-02-28T12:00:00", "minutes": 1}}, {"DELETE", timePath(before), nil},
		} {
			late.send(t, c).problem(t, 409, "period_locked")
		}
	}
	mia.call(t, "PATCH", timePath(before), object{}).want(t, 200) // what changes nothing
	mia.call(t, "PATCH", timePath(on), object{"activity": "x"}).want(t, 200)
	timer := decode[domain.TimeEntry](t, mia.call(t, "POST", "/api/timer/start", nil).want(t, 201))
	rules(object{"time_locked_before": "2100-01-01"})
	mia.call(t, "POST", "/api/timer/stop", nil).problem(t, 409, "period_locked")
	mia.call(t, "PATCH", timePath(timer), object{"end": timer.Start.Add(time.Minute).Format(time.RFC3339)}).problem(t, 409, "period_locked")
	ada.call(t, "POST", "/api/timer/start", nil).problem(t, 409, "period_locked")
	ada.call(t, "PATCH", "/api/workspace", object{"time_locked_before": "2026-02-30"}).want(t, 422)
	rules(object{"time_locked_before": nil})
	mia.call(t, "POST", "/api/timer/stop", nil).want(t, 200)
	mia.call(t, "DELETE", timePath(before), nil).want(t, 204)

	overlapping := object{"start": "2026-02-28T23:30:00Z", "minutes": 60}
	mia.call(t, "POST", "/api/time-entries", overlapping).problem(t, 409, "time_overlap")
	rules(object{"time_overlap": true})
	over := decode[domain.TimeEntry](t, mia.call(t, "POST", "/api/time-entries", overlapping).want(t, 201))
	mia.call(t, "POST", "/api/timer/start", nil).want(t, 201)
	mia.call(t, "POST", "/api/timer/start", nil).problem(t, 409, "timer_running")
	mia.call(t, "POST", "/api/timer/stop", nil).want(t, 200)
	rules(object{"time_overlap": false})
	mia.call(t, "PATCH", timePath(over), object{"activity": "what overlaps stays"}).want(t, 200)
	mia.call(t, "PATCH", timePath(over), object{"minutes": 30}).want(t, 200)
	mia.call(t, "PATCH", timePath(over), object{"minutes": 40}).problem(t, 409, "time_overlap")
	ada.judge(t)
	ada.noDrift(t)
}

// The most specific rate counts: the member's own, else the project's, else the workspace's. Time keeps the one that was in force.
func TestRates(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "member")
	project, free := ada.newProject(t), ada.newProject(t)
	at := map[string]string{"workspace": "/api/workspace", "project": project.path(), "member": "/api/members/" + bob.id.String()}
	var entries []domain.TimeEntry
	var rates []int
	for i, c := range []struct {
		of   string
		rate any
		want int // -1: none
	}{{"workspace", nil, -1}, {"workspace", 6_000, 6_000}, {"project", 7_000, 7_000}, {"member", 8_000, 8_000}, {"project", nil, 8_000},
		{"member", nil, 6_000}, {"project", 0, 0}, {"workspace", 9_000, 0}} {
		ada.call(t, "PATCH", at[c.of], object{"hourly_rate_cents": c.rate}).want(t, 200)
		entry := bob.newTime(t, object{"project_id": project.ID, "start": fmt.Sprintf("2026-03-02T%02d:00", i), "minutes": 30})
		if rate := entry.HourlyRateCents; (rate == nil) != (c.want < 0) || rate != nil && (*rate != c.want || entry.AmountCents != c.want/2) {
			t.Errorf("%s %v: %+v", c.of, c.rate, entry)
		}
		entries, rates = append(entries, entry), append(rates, entry.AmountCents)
	}
	for i, entry := range entries {
		if got := decode[domain.TimeEntry](t, bob.call(t, "GET", timePath(entry), nil).want(t, 200)); got.AmountCents != rates[i] {
			t.Errorf("%+v, it was %+v", got, entry)
		}
	}
	moved := decode[domain.TimeEntry](t, bob.call(t, "PATCH", timePath(entries[1]), object{"project_id": free.ID}).want(t, 200))
	if *moved.HourlyRateCents != 9_000 {
		t.Errorf("in another project: %+v", moved)
	}
	for _, rate := range []any{-1, 1_000_000_001, 1.5, "1"} {
		for _, path := range at {
			ada.call(t, "PATCH", path, object{"hourly_rate_cents": rate}).want(t, 422)
		}
	}
	bob.call(t, "PATCH", at["member"], object{"hourly_rate_cents": 1}).problem(t, 403, "forbidden")
	ada.call(t, "PATCH", at["member"], object{"hourly_rate_cents": 5, "role": "manager"}).want(t, 200)
	type rated struct {
		Role            string
		HourlyRateCents *int `json:"hourly_rate_cents"`
	}
	eve := ada.member(t, "member")
	for who, sees := range map[*client]bool{ada: true, bob: true, eve: false} {
		if got := decode[rated](t, who.call(t, "GET", at["member"], nil).want(t, 200)); got.Role != "manager" || (got.HourlyRateCents != nil) != sees {
			t.Errorf("%+v", got)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}
