package promises

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
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
		"type=task.*":                      func(r record) bool { return strings.HasPrefix(r.Type, "task.") },
		"type=task.created,comment.*":      func(r record) bool { return r.Type == "task.created" || strings.HasPrefix(r.Type, "comment.") },
		"noun=comment":                     func(r record) bool { return strings.HasPrefix(r.Type, "comment.") },
		"noun=task&id=" + task.ID.String(): func(r record) bool { return r.Stream == domain.TaskStream(task.ID) },
		"id=" + task.ID.String():           func(r record) bool { return r.Stream == domain.TaskStream(task.ID) },
		"noun=tag&id=" + task.ID.String():  func(record) bool { return false },
		"noun=task&id=" + uuid.NewString(): func(record) bool { return false },
		"noun=member&id=" + bob.id.String(): func(r record) bool {
			data, _ := r.Data.(map[string]any)
			return strings.HasPrefix(r.Type, "member.") && data["member_id"] == bob.id.String()
		},
		"text=" + task.ID.String():         func(r record) bool { return strings.HasPrefix(r.Type, "comment.") },
		"text=%25":                         func(record) bool { return false },
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
				want = append(want, r.told())
			}
		}
		for _, limit := range []int{1, 2, 3, len(all), 200} {
			got := pages[record](t, bob, "/api/audit/events?"+query, limit)
			for i := range got {
				got[i] = got[i].told()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q, %d at a time: %v, not %v", query, limit, positions(got), positions(want))
			}
		}
	}
	for _, query := range []string{"type=task", "type=task.*,nothing.done", "type=%25", "type=*", "noun=nothing", "noun=task&id=x"} {
		bob.call(t, "GET", "/api/audit/events?"+query, nil).want(t, 422)
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

// told is a record as a list and a replay have it alike: names and addresses are opened in the one, and sealed in the other.
func (r record) told() record {
	if data, is := r.Data.(map[string]any); is {
		for _, name := range []string{"email", "full_name"} {
			if data[name] != nil {
				data[name] = "somebody"
			}
		}
	}
	return r
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
	listed := pages[record](t, ada, "/api/audit/events", 7)
	for i := range listed {
		all[i], listed[i] = all[i].told(), listed[i].told()
	}
	if diff := cmp.Diff(all, listed); diff != "" {
		t.Errorf("the list is not the replay backwards: %s", diff)
	}
	for _, query := range []string{"from=0", "from=-1", "from=x", "from=", "from=1&from=2", "from=1.5", "from=9223372036854775808", "follow=maybe", "since=1"} {
		if a := ada.call(t, "GET", "/api/audit/replay?"+query, nil); a.status != 422 {
			t.Errorf("%s: %d %.200s", query, a.status, a.body)
		}
	}
}

// entry is a record with what is known of it.
type entry struct {
	record
	Meta struct {
		IP      string
		TokenID uuid.UUID `json:"token_id"`
	}
	Who   *struct{ ID, Name, Status string }
	About struct{ Noun, ID, Title, Key string }
	Text  string
}

// An auditor reads who did what to what, in words, also of those who left; whoever may not read members reads no names, and of
// somebody who was erased nobody does.
func TestAuditInWords(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	project := ada.newProject(t, object{"key": "WEB"})
	task := ada.newTask(t, object{"title": "Paint the door", "due_on": "2027-03-03", "project_id": project.ID})
	bob.call(t, "PATCH", taskPath(task), object{"due_on": "2027-03-07"}).want(t, 200)
	bob.call(t, "PATCH", taskPath(task), object{"due_on": nil, "priority": "high", "description": "Twice."}).want(t, 200)
	bob.call(t, "POST", taskPath(task, "complete"), nil).want(t, 200)
	ada.call(t, "PUT", taskPath(task, "assignees", bob.id.String()), nil).want(t, 204)
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	read := func(c *client, accept string) map[string]entry {
		a := c.call(t, "GET", "/api/audit/events?limit=200", nil, "Accept-Language: "+accept).want(t, 200)
		last := map[string]entry{}
		for _, e := range slices.Backward(decode[list[entry]](t, a).Items) {
			last[e.Type] = e
		}
		return last
	}
	english := read(ada, "de, en;q=0.5")
	for eventType, want := range map[string]string{
		"task.completed":  bob.name + " completed WEB-1",
		"task.updated":    bob.name + " changed WEB-1: the description, the due date from 7 March 2027 to nothing and the priority from none to high",
		"task.assigned":   ada.name + " assigned WEB-1 to " + bob.name,
		"member.removed":  ada.name + " removed " + bob.name,
		"member.invited":  ada.name + " invited " + bob.name + " with the role “member”",
		"project.created": ada.name + " made the project WEB",
	} {
		if got := english[eventType].Text; got != want {
			t.Errorf("%s is told as %q, want %q", eventType, got, want)
		}
	}
	done := english["task.completed"]
	if done.Who == nil || done.Who.Name != bob.name || done.Who.Status != "removed" || done.About.Noun != "task" || done.About.ID != task.ID.String() ||
		done.About.Title != "Paint the door" || done.About.Key != "WEB-1" {
		t.Errorf("%+v", done)
	}
	if data := fmt.Sprint(english["member.invited"].Data); !strings.Contains(data, bob.email) || !strings.Contains(data, bob.name) {
		t.Errorf("the data is %s", data)
	}
	for accept, want := range map[string]string{"fr-BE,nl;q=0.3": bob.name + " a terminé WEB-1", "nl": bob.name + " rondde WEB-1 af", "*": bob.name + " completed WEB-1", "x;;": bob.name + " completed WEB-1"} {
		if got := read(ada, accept)["task.completed"].Text; got != want {
			t.Errorf("in %s it is %q", accept, got)
		}
	}
	script, _ := ada.newToken(t, domain.Grant{Resource: "audit", Action: "read", Scope: domain.All})
	narrow := read(script, "en")
	text := fmt.Sprint(narrow)
	if strings.Contains(text, bob.name) || strings.Contains(text, bob.email) || narrow["task.completed"].Who.Name != "" || narrow["task.completed"].Text != "A member completed WEB-1" {
		t.Errorf("whoever may not read members reads %s", text)
	}
	if err := p[0].db.InAsOwner(t.Context(), ada.workspace, func(tx *pg.Tx) error {
		return tx.Run(t.Context(), pg.Exec(`delete from data_key where subject = $1`, bob.id))
	}); err != nil {
		t.Fatal(err)
	}
	fresh := p[0].site.newProcess(t, false) // it keeps no key open
	erased := read(ada.on(fresh), "en")
	if e := erased["task.completed"]; e.Who.Name != "" || e.Who.Status != "erased" || e.Text != "Somebody who was erased completed WEB-1" {
		t.Errorf("of somebody erased: %+v", e)
	}
}

// An export has the records that a filter chooses, in three formats, reaches to the checkpoint beside it, goes on from a position,
// and has no formula for a spreadsheet. Only some plans have it.
func TestAuditExport(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	ada.call(t, "GET", "/api/audit/export?format=csv", nil).problem(t, 403, "plan_required")
	ada.call(t, "PATCH", "/api/workspace", object{"plan": "business"}).want(t, 200)
	for _, title := range []string{"=1+1", "@SUM(A1)", "-2", "+3", "\"quoted\", and\nmore"} {
		ada.newTask(t, object{"title": title})
	}
	ada.call(t, "GET", "/api/audit/export", nil).want(t, 422)
	ada.call(t, "GET", "/api/audit/export?format=xls", nil).want(t, 422)
	ada.call(t, "GET", "/api/audit/export?format=csv&type=x", nil).want(t, 422)
	ada.member(t, "manager").call(t, "GET", "/api/audit/export?format=csv", nil).want(t, 403)

	whole := ada.call(t, "GET", "/api/audit/export?format=ndjson", nil).want(t, 200)
	replayed := ada.call(t, "GET", "/api/audit/replay", nil).want(t, 200)
	if string(whole.body) != string(replayed.body) {
		t.Errorf("the lines are not those of a replay: %s", whole.body)
	}
	at := must(checkpoint.Open(must(base64.StdEncoding.DecodeString(whole.header.Get("Kluis-Checkpoint"))), p[0].keys.PublicKeys()))
	verdict := must(eventstore.VerifyFile(bytes.NewReader(whole.body), projections.Expected(ada.workspace, []eventstore.Mark{{Checkpoint: at}}, 1), nil))
	if at.Size != ada.head(t) || whole.position(t) != at.Size || len(verdict.Findings) > 0 || verdict.Marks != 1 {
		t.Errorf("%+v of %+v", verdict, at)
	}
	rest := ada.call(t, "GET", fmt.Sprint("/api/audit/export?format=ndjson&after=", at.Size-2), nil).want(t, 200)
	if lines := bytes.Count(rest.body, []byte("\n")); lines != 2 || !bytes.HasSuffix(whole.body, rest.body) {
		t.Errorf("it goes on with %s", rest.body)
	}

	var all struct {
		Checkpoint string
		Records    []entry
	}
	if err := json.Unmarshal(ada.call(t, "GET", "/api/audit/export?format=json&noun=task", nil, "Accept-Language: nl").want(t, 200).body, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Records) != 5 || all.Records[0].Text != ada.name+" maakte de taak ‘=1+1’" || all.Records[0].About.Title != "=1+1" || all.Checkpoint == "" {
		t.Errorf("%+v", all)
	}
	if err := json.Unmarshal(ada.call(t, "GET", "/api/audit/export?format=json&noun=comment", nil).want(t, 200).body, &all); err != nil || len(all.Records) != 0 {
		t.Errorf("%+v, %v", all, err)
	}

	if after := ada.call(t, "GET", fmt.Sprint("/api/audit/export?format=ndjson&after=", math.MaxInt64), nil).want(t, 200); len(after.body) != 0 {
		t.Errorf("behind the last position there can be: %s", after.body)
	}
	for _, text := range []string{`"QUOTED", and` + "\n" + `more`, `"quoted`} { // and not as JSON has it
		if found := pages[record](t, ada, "/api/audit/events?text="+url.QueryEscape(text), 200); len(found) != 1 {
			t.Errorf("%d events have %q", len(found), text)
		}
	}

	table := ada.call(t, "GET", "/api/audit/export?format=csv&noun=task", nil).want(t, 200)
	rows, err := csv.NewReader(bytes.NewReader(table.body)).ReadAll()
	if err != nil || len(rows) != 6 {
		t.Fatalf("%v: %s", err, table.body)
	}
	title := slices.Index(rows[0], "title")
	for i, want := range []string{"'=1+1", "'@SUM(A1)", "'-2", "'+3", "\"quoted\", and\nmore"} {
		if got := rows[i+1][title]; got != want {
			t.Errorf("a title is %q, want %q", got, want)
		}
	}
}
