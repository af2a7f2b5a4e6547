package promises

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "time_entry",
	path: "time-entries",
	thing: func(t tester, x *tenant) uuid.UUID {
		return x.newTime(t, object{"task_id": x.one(t, "task"), "activity": x.private()}).ID
	},
	bodies: map[string]func(x *tenant) object{
		"create-time-entry": func(x *tenant) object {
			return object{"member_id": x.things["member"], "task_id": x.things["task"], "start": someHour(), "minutes": 60, "activity": "design", "billable": true}
		},
		"update-time-entry": func(x *tenant) object {
			return object{"task_id": nil, "project_id": x.things["project"], "start": someHour(), "minutes": 60, "activity": uuid.NewString(), "billable": false}
		},
		"start-timer": func(x *tenant) object {
			return object{"project_id": x.things["project"], "activity": uuid.NewString()}
		},
		"stop-timer": func(*tenant) object {
			return object{"end": time.Now().Add(rand.N(time.Hour)).Format(time.RFC3339)}
		},
	},
	rule: judgeTime,
	end: func(o *oracle) error {
		for id, k := range the[uuid.UUID, judgedTime](o) {
			if k.unplaced || k.moved {
				return fmt.Errorf("time entry %s takes time or came into a project, and nothing says so in the stream of the member's time", id)
			}
			if m := o.people[k.member]; k.running && !k.deleted && m.status != "active" && !k.from.Before(o.timeRules().lockedBefore) {
				return fmt.Errorf("the timer of %s is running, who is %s", k.member, m.status)
			}
		}
		return nil
	},
	stream: func(e domain.Event, id uuid.UUID) string {
		if _, ok := e.(domain.TimeEntryPlaced); ok {
			return domain.TimeStream(id)
		}
		return domain.TimeEntryStream(id)
	},
	races: map[string]race{
		"time of what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"POST", "/api/time-entries", object{"task_id": task.ID, "start": someHour(), "minutes": 1}}
		},
		"time that goes to what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"PATCH", timePath(x.newTime(t)), object{"task_id": task.ID}}
		},
		"time of a project that is archived": func(t tester, x *tenant) (one, other request) {
			project := x.newProject(t)
			return request{"PATCH", project.path(), object{"status": "archived"}}, request{"POST", "/api/time-entries", object{"project_id": project.ID, "start": someHour(), "minutes": 1}}
		},
		"time that is locked": func(t tester, x *tenant) (one, other request) {
			x.call(t, "PATCH", "/api/workspace", object{"time_locked_before": nil}).want(t, 200)
			early := x.newTime(t, object{"start": time.Date(1980, 1, 1, rand.N(40_000), 0, 0, 0, time.UTC).Format(time.RFC3339)})
			return request{"PATCH", "/api/workspace", object{"time_locked_before": "1985-01-01"}}, request{"PATCH", timePath(early), object{"activity": "late"}}
		},
		"time that is taken": func(t tester, x *tenant) (one, other request) {
			start := someHour()
			return request{"POST", "/api/time-entries", object{"start": start, "minutes": 60}}, request{"PATCH", timePath(x.newTime(t)), object{"start": start, "minutes": 1}}
		},
	},
})

// newTime writes down an hour at a time that is its own.
func (c *client) newTime(t tester, fields ...object) domain.TimeEntry {
	t.Helper()
	body := object{"start": someHour(), "minutes": 60}
	for _, more := range fields {
		for name, value := range more {
			if body[name] = value; value == nil {
				delete(body, name)
			}
		}
	}
	return decode[domain.TimeEntry](t, c.call(t, "POST", "/api/time-entries", body).want(t, 201))
}

// someHour is the beginning of an hour in the past that hardly another test has.
func someHour() string {
	return time.Date(1990, 1, 1, rand.N(200_000), 0, 0, 0, time.UTC).Format(time.RFC3339)
}

func timePath(entry domain.TimeEntry, more ...any) string {
	path := "/api/time-entries/" + entry.ID.String()
	for _, part := range more {
		path += fmt.Sprint("/", part)
	}
	return path
}

type judgedTime struct {
	member   uuid.UUID
	from, to time.Time // to is far away while the timer runs
	running  bool
	unplaced bool // it takes time of the member, and nothing says so there yet
	moved    bool // it came into a project, and nothing says so there yet
	project  *uuid.UUID
	deleted  bool
}

var farAway = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func judgeTime(o *oracle, e fact) error {
	times := the[uuid.UUID, judgedTime](o)
	k := times[e.id]
	begin := func(w domain.Work, from, to time.Time, running bool) error {
		times[e.id] = &judgedTime{member: w.MemberID, from: from, to: to, running: running, unplaced: true, project: w.ProjectID}
		return firstError(o.may(e.actor, domain.CreateTimeEntry, w.MemberID == e.actor), when(k != nil, "it is there"), o.worked(e.id), o.workOn(w.TaskID, w.ProjectID),
			when(o.people[w.MemberID] == nil || o.people[w.MemberID].status == "removed", "there is no such member"))
	}
	switch event := e.event.(type) {
	case domain.TimeEntryCreated:
		return begin(event.Work, event.Start, event.End, false)
	case domain.TimeEntryStarted:
		return begin(event.Work, event.Start, farAway, true)
	case domain.TimeEntryPlaced:
		placed := times[event.EntryID]
		if placed == nil || domain.TimeStream(placed.member) != e.Stream || !placed.unplaced && !placed.moved {
			return fmt.Errorf("no entry of the member takes time")
		}
		placed.unplaced, placed.moved = false, false
		return nil
	}
	if k == nil || k.deleted {
		return fmt.Errorf("there is no such time entry")
	}
	locked := when(k.from.Before(o.timeRules().lockedBefore), "it was locked")
	update := firstError(locked, o.may(e.actor, domain.UpdateTimeEntry, k.member == e.actor))
	switch event := e.event.(type) {
	case domain.TimeEntryStopped:
		was := k.running
		k.to, k.running = event.End, false
		if o.people[k.member].status != "active" { // it stops with the member, whoever made an end to that
			update = locked
		}
		return firstError(update, when(!was, "no timer was running"), o.worked(e.id))
	case domain.TimeEntryUpdated:
		if event.Start != nil {
			k.unplaced = event.Start.Before(k.from)
			k.from = *event.Start
		}
		if event.End != nil {
			k.unplaced = k.unplaced || event.End.After(k.to)
			k.to = *event.End
		}
		if event.ProjectID.Set {
			k.project, k.moved = event.ProjectID.Value, event.ProjectID.Value != nil
		}
		return firstError(update, o.worked(e.id), o.workOn(event.TaskID.Value, event.ProjectID.Value))
	case domain.TimeEntryDeleted:
		k.deleted = true
		return firstError(locked, o.may(e.actor, domain.DeleteTimeEntry, k.member == e.actor))
	}
	return errUnknown(e)
}

// worked tells whether a span is one that a member can have worked, besides all the others where it takes more time than before.
func (o *oracle) worked(id uuid.UUID) error {
	times := the[uuid.UUID, judgedTime](o)
	k := times[id]
	if k.from.Before(o.timeRules().lockedBefore) {
		return fmt.Errorf("time before %s is locked", o.timeRules().lockedBefore)
	}
	if k.from.After(k.to) || !k.running && k.to.Sub(k.from) > 24*time.Hour {
		return fmt.Errorf("from %s to %s", k.from, k.to)
	}
	for other, l := range times {
		switch {
		case other == id || l.member != k.member || l.deleted || !k.unplaced:
		case l.running && k.running:
			return fmt.Errorf("the timer of %s is running", other)
		case l.from.Before(k.to) && k.from.Before(l.to) && !o.timeRules().overlap:
			return fmt.Errorf("it overlaps %s", other)
		}
	}
	return nil
}

// workOn tells whether there can be time of a task and of a project.
func (o *oracle) workOn(task, project *uuid.UUID) error {
	if project != nil {
		if p := the[uuid.UUID, judgedProject](o)[*project]; p == nil || p.deleted || p.archived {
			return fmt.Errorf("the project takes no time")
		}
	}
	if task == nil {
		return nil
	}
	if err := o.there(*task); err != nil {
		return err
	}
	in := the[uuid.UUID, judgedTask](o)[*task].project
	return when(project != nil && (in == nil || *in != *project), "the task is in another project")
}
