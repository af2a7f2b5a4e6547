package promises

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// record is one of the log, as an auditor sees it.
type record struct {
	Position int64
	ID       uuid.UUID
	Stream   string
	Version  int
	Type     string
	At       time.Time
	Actor    *uuid.UUID
	Data     any
}

func lines(t tester, body []byte) (records []record) {
	t.Helper()
	if len(body) > 0 && body[len(body)-1] != '\n' {
		t.Errorf("the last line does not end: %s", body)
	}
	for line := range bytes.Lines(body) {
		if err := schema().check(line, "components", "schemas", "RecordBody"); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		records = append(records, r)
	}
	return records
}

// replay reads the log from a position on.
func (c *client) replay(t tester, from int64) []record {
	t.Helper()
	a := c.call(t, "GET", fmt.Sprint("/api/audit/replay?from=", from), nil).want(t, 200)
	return lines(t, a.body)
}

func TestAuditEvents(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "auditor")
	carol := ada.member(t, "member")
	task := ada.newTask(t)
	for _, c := range []*client{ada, carol} {
		time.Sleep(2 * time.Millisecond)
		c.call(t, "POST", taskPath(task, "complete"), nil).want(t, 200)
		c.call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).want(t, 201)
		time.Sleep(2 * time.Millisecond)
		c.call(t, "POST", taskPath(task, "reopen"), nil).want(t, 200)
	}
	all := bob.on(p[1]).replay(t, 1)
	if len(all) != int(ada.head(t)) {
		t.Fatalf("%d records, the head is at %d", len(all), ada.head(t))
	}
	middle := all[len(all)-3].At
	for query, choose := range map[string]func(record) bool{
		"":                                 func(record) bool { return true },
		"actor=" + carol.id.String():       func(r record) bool { return *r.Actor == carol.id },
		"actor=" + uuid.NewString():        func(record) bool { return false },
		"actor=" + uuid.Nil.String():       func(record) bool { return false },
		"type=task.completed":              func(r record) bool { return r.Type == "task.completed" },
		"type=task":                        func(record) bool { return false },
		"type=%25":                         func(record) bool { return false },
		"stream=roster":                    func(r record) bool { return r.Stream == "roster" },
		"stream=task-" + task.ID.String():  func(r record) bool { return r.Stream == domain.TaskStream(task.ID) },
		"from=" + instant(middle):          func(r record) bool { return !r.At.Before(middle) },
		"to=" + instant(middle):            func(r record) bool { return !r.At.After(middle) },
		"to=0001-01-01T00:00:00Z":          func(record) bool { return false },
		"from=0001-01-01T00:00:00Z":        func(record) bool { return true },
		"to=" + instant(all[0].At.Add(-1)): func(record) bool { return false },
		"type=task.reopened&actor=" + ada.id.String() + "&from=" + instant(all[0].At): func(r record) bool { return r.Type == "task.reopened" && *r.Actor == ada.id },
	} {
		var want []record
		for _, r := range slices.Backward(all) {
			if choose(r) {
				want = append(want, r)
			}
		}
		for _, limit := range []int{1, 2, 3, len(all), 200} {
			got := pages[record](t, bob, "/api/audit/events?"+query, limit)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q, %d at a time: %v, not %v", query, limit, positions(got), positions(want))
			}
		}
	}
	a := bob.call(t, "GET", "/api/audit/events", nil).want(t, 200)
	if a.position(t) != ada.head(t) {
		t.Errorf("position %d, the head is at %d", a.position(t), ada.head(t))
	}
	for _, c := range []*client{carol, p[0].public()} {
		for _, path := range []string{"/api/audit/events", "/api/audit/replay", "/api/audit/replay?follow=true"} {
			if a := c.call(t, "GET", path, nil); a.status != 403 && a.status != 401 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	}
}

func positions(records []record) (all []int64) {
	for _, r := range records {
		all = append(all, r.Position)
	}
	return all
}

func instant(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }

// What comes meanwhile does not move what is on the further pages.
func TestPagingWhileOthersWrite(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	for range 5 {
		ada.newTask(t)
	}
	for _, path := range []string{"/api/audit/events", "/api/tasks"} {
		want := ids(t, ada.call(t, "GET", path+"?limit=200", nil))
		var got []string
		for cursor := ""; ; {
			a := ada.call(t, "GET", path+"?limit=2"+cursor, nil).want(t, 200)
			got = append(got, ids(t, a)...)
			next := decode[list[any]](t, a).NextCursor
			if next == nil {
				break
			}
			cursor = "&cursor=" + *next
			ada.newTask(t)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func ids(t tester, a reply) (all []string) {
	t.Helper()
	for _, item := range decode[list[struct{ ID string }]](t, a.want(t, 200)).Items {
		all = append(all, item.ID)
	}
	return all
}

func TestReplay(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	ada.newTask(t, object{"title": "<é>\u2028 & \"", "description": strings.Repeat("ü", 40_000)})
	for range 30 {
		ada.newTask(t)
	}
	all := ada.replay(t, 1)
	for i, r := range all {
		if r.Position != int64(i+1) {
			t.Fatalf("record %d has position %d", i+1, r.Position)
		}
	}
	head := ada.head(t)
	for _, from := range []int64{2, head, head + 1, 1 << 62} {
		want := all[min(from-1, head):]
		if diff := cmp.Diff(want, ada.replay(t, from)); diff != "" && len(want) > 0 {
			t.Errorf("from %d: %s", from, diff)
		}
	}
	slices.Reverse(all)
	if diff := cmp.Diff(all, pages[record](t, ada, "/api/audit/events", 7)); diff != "" {
		t.Errorf("the list is not the replay backwards: %s", diff)
	}
	for _, query := range []string{"from=0", "from=-1", "from=x", "from=", "from=1&from=2", "from=1.5", "from=9223372036854775808", "follow=maybe", "since=1"} {
		if a := ada.call(t, "GET", "/api/audit/replay?"+query, nil); a.status != 422 {
			t.Errorf("%s: %d %.200s", query, a.status, a.body)
		}
	}
}
