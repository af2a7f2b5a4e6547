package imports

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"
)

// told is what a file reads as: an action in short, or a reject, a line each.
func told(t *testing.T, text string, o Options) (lines []string) {
	t.Helper()
	if o.Asked.IsZero() {
		o.Asked = time.Now()
	}
	for a, err := range Read(strings.NewReader(text), o) {
		if err != nil {
			if reject, is := errors.AsType[*Reject](err); is {
				lines = append(lines, fmt.Sprintf("%d rejected: %s", reject.Line, reject.Reason))
			} else {
				lines = append(lines, "ended: "+err.Error())
			}
			continue
		}
		line := fmt.Sprintf("%d %s %s %s by %s", a.Line, a.At.UTC().Format(time.RFC3339), a.Do, a.Task, a.By.Code)
		add := func(name, value string) {
			if value != "" {
				line += " " + name + "=" + value
			}
		}
		if a.Do == SayPerson {
			add("name", a.By.Name)
			add("email", a.By.Email)
		}
		add("id", a.ID)
		add("title", a.Title)
		if a.Body != nil {
			add("body", fmt.Sprintf("%q", *a.Body))
		}
		add("status", a.Status)
		add("priority", a.Priority)
		add("project", a.Project)
		add("key", a.ProjectKey)
		add("parent", a.Parent)
		for _, p := range a.Assignees {
			add("assignee", p.Code)
		}
		add("tags", strings.Join(a.Tags, "|"))
		if a.Estimate != nil {
			add("estimate", fmt.Sprint(*a.Estimate))
		}
		add("due", a.DueOn)
		if a.Do == LogTime {
			add("start", a.Start.UTC().Format(time.RFC3339))
			add("minutes", fmt.Sprint(a.Minutes))
			add("activity", a.Activity)
		}
		lines = append(lines, line)
	}
	return lines
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A tracker's lines become actions; what cannot be read is told by line, and reading goes on, also behind a file that was cut.
func TestTracker(t *testing.T) {
	t.Parallel()
	file := `{"at":"2011-08-19T08:13:00Z","org":"a","actor":"p1","do":"task.create","task":"T-1","title":"One","kind":"bug","tags":[" ,x, ","x"],"estimate_minutes":60,"assignee":"p2","extra":1}

{"at":"2011-08-19T08:14:00Z","org":"b","actor":"p1","do":"task.create","task":"T-1","title":"Other org"}
{"at":"2011-08-19T08:15:00Z","org":"a","actor":"p1","do":"time.log","task":"T-1","start":"2011-08-19T08:00:00Z","minutes":15,"break_minutes":2,"activity":"Misc"}
{"at":"2011-08-19T08:15:00Z","org":"a","actor":"p1","do":"task.explode","task":"T-1"}
{"at":"2011-08-19T08:15:00Z","org":"a","do":"comment.add","task":"T-1","comment":"C-1","body":"x"}
{"at":"yesterday","org":"a","actor":"p1","do":"comment.add","task":"T-1","comment":"C-1","body":"x"}
{"at":7,"org":"a"}
` + "{\"org\":\"a\xff\"}\n" + `{"title":"` + strings.Repeat("x", maxLine) + `"}
{"at":"2011-08-19T09:00:00Z","org":"a","actor":"p1","do":"comment.add","task":"T-1","comment":"C-1","body":""}
{"org":"a","actor":"p3","do":"person","name":"Zoë","email":"zoe@a.example"}
{"org":"a","do":"person","name":"Nobody"}
{"org":"b","actor":"p3","do":"person","name":"Other org"}
{"at":"2011-08-19T09:00:00Z","org":"a","actor":"p`
	same(t, told(t, file, Options{Format: "tracker", Org: "a"}),
		`1 2011-08-19T08:13:00Z task.create T-1 by p1 title=One assignee=p2 tags=bug|x estimate=60`,
		`4 2011-08-19T08:15:00Z time.log T-1 by p1 start=2011-08-19T08:00:00Z minutes=15 activity=Misc`,
		`5 rejected: what it does is "task.explode", and not one of person, task.create, task.status, comment.add, comment.edit, time.log`,
		`6 rejected: comment.add needs "actor"`,
		`7 rejected: the line is no JSON object of an action: "yesterday" is no time such as 2006-01-02T15:04:05Z`,
		`8 rejected: the line is no JSON object of an action: Time.UnmarshalJSON: input is not a JSON string`,
		`9 rejected: the line is not UTF-8`,
		`10 rejected: the line is longer than 1048576 bytes`,
		`11 2011-08-19T09:00:00Z comment.add T-1 by p1 id=C-1 body=""`,
		`12 0001-01-01T00:00:00Z person  by p3 name=Zoë email=zoe@a.example`,
		`13 rejected: person needs "actor"`,
		`15 rejected: the line is no JSON object of an action: unexpected end of JSON input`,
	)
}

// Jira's search answer becomes what happened to each issue, in the order in which it did; what is below another issue comes behind it.
func TestJira(t *testing.T) {
	t.Parallel()
	file := `{"startAt":0,"issues":[
 {"key":"ALOY-2","fields":{"summary":"Child","status":{"name":"Closed"},"project":{"name":"Alloy"},"parent":{"key":"ALOY-1"},"reporter":{"name":"ann","displayName":"Ann"},
  "created":"2012-01-01T00:00:00.000+0000","resolutiondate":"2012-02-01T00:00:00.000+0000"}},
 {"key":"ALOY-1","fields":{"summary":"Parent","description":{"type":"doc","content":[{"type":"paragraph","content":[{"type":"text","text":"Hello "},{"type":"mention","attrs":{"text":"@Bob"}}]},{"type":"bulletList","content":[{"type":"listItem","content":[{"type":"paragraph","content":[{"type":"text","text":"see "},{"type":"inlineCard","attrs":{"url":"https://x.example"}}]}]}]}]},
  "status":{"name":"Closed"},"priority":{"name":"Major"},"issuetype":{"name":"Bug"},"labels":["ui"],"components":[{"name":"core"}],"duedate":"2012-03-01","timeoriginalestimate":7200,
  "project":{"key":"ALOY","name":"Alloy"},"creator":{"accountId":"a1","displayName":"Ann","emailAddress":"ann@x.example"},"assignee":{"accountId":"b1","displayName":"Bob"},"created":"2012-01-02T03:04:05.000+0200",
  "comment":{"comments":[{"id":"10","author":null,"body":"text","created":"2012-01-04T00:00:00.000+0000"}]},
  "worklog":{"worklogs":[{"id":"20","author":{"accountId":"b1"},"started":"2012-01-03T10:00:00.000+0000","timeSpentSeconds":5430,"comment":"Fix\nmore"}]}},
  "changelog":{"histories":[{"id":"31","author":{"accountId":"b1"},"created":"2012-01-05T00:00:00.000+0000","items":[{"field":"status","fromString":"Open","toString":"Closed"},{"field":"labels"}]},
   {"id":"30","author":{"accountId":"b1"},"created":"2012-01-03T00:00:00.000+0000","items":[{"field":"status","fromString":"New","toString":"In Progress"}]}]}},
 {"key":"ALOY-3","fields":{"summary":""}}, {"key":7}, {"key":"ALOY-5","fields":{"created":"not a date"}}, [],
 {"key":"ALOY-7","fields":{"summary":"Late","created":"3012-01-01T00:00:00.000+0000","reporter":{"name":"ann"}}}
]}`
	same(t, told(t, "\ufeff"+file, Options{Format: "jira"}),
		`3 rejected: task.create needs "at"`,
		`4 rejected: this is no issue as Jira exports one: "key" cannot be a number`,
		`5 rejected: this is no issue as Jira exports one: "not a date" is no time such as 2006-01-02T15:04:05.000+0200`,
		`6 rejected: this is no issue as Jira exports one: it is of the JSON type array`,
		`2 2012-01-02T01:04:05Z task.create ALOY-1 by a1 title=Parent body="Hello @Bob\nsee https://x.example" status=open priority=Major project=Alloy key=ALOY assignee=b1 tags=Bug|ui|core estimate=120 due=2012-03-01`,
		`2 2012-01-03T00:00:00Z task.status ALOY-1 by b1 id=30 status=In Progress`,
		`2 2012-01-03T11:30:30Z time.log ALOY-1 by b1 id=20 start=2012-01-03T10:00:00Z minutes=91 activity=Fix`,
		`2 2012-01-04T00:00:00Z comment.add ALOY-1 by nobody id=10 body="text"`,
		`2 2012-01-05T00:00:00Z task.status ALOY-1 by b1 id=31 status=Closed`,
		`1 2012-01-01T00:00:00Z task.create ALOY-2 by ann title=Child body="" status=open project=Alloy parent=ALOY-1`,
		`1 2012-02-01T00:00:00Z task.status ALOY-2 by ann id=resolved status=Closed`,
		`7 rejected: 3012-01-01T00:00:00Z is more than a year from now`,
	)
}

// GitHub's issues are read from its REST API and from its own command line alike; pull requests are none.
func TestGitHub(t *testing.T) {
	t.Parallel()
	rest := `[{"number":2,"title":"Two","body":null,"state":"closed","state_reason":"not_planned","user":{"login":"ann"},"closed_by":{"login":"bob"},"created_at":"2020-01-02T00:00:00Z","closed_at":"2020-01-03T00:00:00Z",
 "labels":[{"name":"bug"},"text"],"assignees":[{"login":"bob"}],"milestone":{"title":"v1","due_on":"2020-02-01T08:00:00Z"},"comments":3},
 {"number":1,"title":"A request","user":{"login":"ann"},"created_at":"2020-01-01T00:00:00Z","pull_request":{"url":"x"}}]`
	line := `[{"number":3,"title":"Three","body":"b","state":"OPEN","author":{"login":"ann","name":"Ann A"},"createdAt":"2020-01-04T00:00:00Z","closedAt":null,"labels":[],"assignees":[],
 "comments":[{"id":"IC_1","author":{"login":"bob"},"body":"hi","createdAt":"2020-01-05T00:00:00Z"}]}]`
	same(t, told(t, rest+"\n"+line, Options{Format: "github"}),
		`1 2020-01-02T00:00:00Z task.create #2 by ann title=Two assignee=bob tags=bug|text|v1 due=2020-02-01T08:00:00Z`,
		`1 2020-01-03T00:00:00Z task.status #2 by bob id=closed status=cancelled`,
		`3 2020-01-04T00:00:00Z task.create #3 by ann title=Three body="b"`,
		`3 2020-01-05T00:00:00Z comment.add #3 by bob id=IC_1 body="hi"`,
	)
	same(t, told(t, `[{"number":1,"title":"cut`, Options{Format: "github"}), `1 rejected: behind thing 0 the file is no JSON: unexpected EOF`)
}

// A CSV is read by the names of its columns, or by a mapping of them.
func TestCSV(t *testing.T) {
	t.Parallel()
	file := "\ufeff\"Summary;x\",Title,Created at,tags,Owner,completed_at,Estimate Minutes\n" +
		"s,One,2020-01-02,a; b;a,ann@x.example,2020-01-03 10:00,30\n" +
		"s,\"Two\nlines\",,,,,\n" +
		"s,Three,tomorrow,,,,\ns,Four,,,,,half an hour\ns,\"Five,,,,,\n"
	got := told(t, file, Options{Format: "csv", Mapping: map[string]string{"Owner": "assignees"}, Asked: time.Date(2021, 5, 6, 7, 8, 9, 0, time.UTC)})
	if len(got) != 6 || !strings.HasSuffix(got[2], "2021-05-06T07:08:09Z task.create row 3 by csv title=Two\nlines") {
		t.Fatalf("%q", got)
	}
	same(t, append(got[:2:2], got[3:]...),
		`2 2020-01-02T00:00:00Z task.create row 2 by csv title=One status=open assignee=ann@x.example tags=a|b estimate=30`,
		`2 2020-01-03T10:00:00Z task.status row 2 by csv id=completed status=done`,
		`5 rejected: created_at is "tomorrow", and neither such as 2006-01-02T15:04:05Z nor such as 2006-01-02 or 02.01.2006`,
		`6 rejected: estimate_minutes is "half an hour", and not a whole number`,
		`7 rejected: the row is no CSV: extraneous or missing " in quoted-field`)
	same(t, told(t, "a,b\n", Options{Format: "csv"}), `ended: no column is the title: say which, as {"Name of the column": "title"}`)
	same(t, told(t, "a,b\n", Options{Format: "csv", Mapping: map[string]string{"a": "colour"}}),
		`ended: the column "a" cannot be "colour", but one of id, title, description, status, priority, project, parent, assignees, tags, start_on, due_on, estimate_minutes, created_at, created_by, completed_at`)
	same(t, told(t, "title\n", Options{Format: "csv", Mapping: map[string]string{"c": "title"}}), `ended: there is no column "c", but ["title"]`)
	same(t, told(t, "title,Titel\n", Options{Format: "csv", Mapping: map[string]string{"Titel": "title"}}), `ended: two columns are "title": say which one, and of the other {"Titel": ""}`)
	same(t, told(t, "", Options{Format: "xls"}), `ended: the format is one of tracker, jira, github, csv, not "xls"`)
}

// Dates of numbers are read when they can be read in one way only: with dots the day comes first, with slashes as some date of the column says.
func TestDatesOfTables(t *testing.T) {
	t.Parallel()
	asked := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		column string
		dates  []string
		want   []string // of each; empty: it is rejected
		order  string
	}{
		{"due_on", []string{"31.12.2026", "1.2.2026", "03.04.2026", "31.11.2026", "12.31.2026"}, []string{"2026-12-31", "2026-02-01", "2026-04-03", "", ""}, ""},
		{"due_on", []string{"03/04/2026", "31/12/2026", "1/2/2026"}, []string{"2026-04-03", "2026-12-31", "2026-02-01"}, "day/month/year"},
		{"due_on", []string{"03/04/2026", "12/31/2026", "5/5/2026"}, []string{"2026-03-04", "2026-12-31", "2026-05-05"}, "month/day/year"},
		{"due_on", []string{"03/04/2026", "5/5/2026", "2026-01-02", ""}, []string{"", "2026-05-05", "2026-01-02", "none"}, ""},
		{"due_on", []string{"31/12/2026", "12/31/2026", "03/04/2026"}, []string{"", "", ""}, ""},
		{"due_on", []string{"3/4/26", "2026/04/03", "31/13/2026", "0/0/2026", "31-12-2026"}, []string{"", "", "", "", ""}, ""},
		{"created_at", []string{"31.12.2026 14:30", "31.12.2026 14:30:05", "31.12.2026"}, []string{"2026-12-31T14:30:00Z", "2026-12-31T14:30:05Z", "2026-12-31T00:00:00Z"}, ""},
		{"created_at", []string{"12/31/2026 2:30 PM", "1/2/2026 02:30"}, []string{"2026-12-31T14:30:00Z", "2026-01-02T02:30:00Z"}, "month/day/year"},
		{"created_at", []string{"28/Nov/26 10:39 AM", "Wed Feb 08 2023 08:14:15 GMT+0100 (Central European Standard Time)"}, []string{"2026-11-28T10:39:00Z", "2023-02-08T07:14:15Z"}, ""},
	} {
		var orders map[string]string
		o := Options{Format: "csv", Asked: asked, Dates: func(in map[string]string) { orders = in }}
		lines := told(t, "title,"+c.column+"\nx,"+strings.Join(c.dates, "\nx,")+"\n", o)
		for i, line := range lines {
			switch want := c.want[i]; {
			case want == "" && !strings.Contains(line, fmt.Sprintf("rejected: %s is %q, ", c.column, c.dates[i])),
				want == "none" && strings.Contains(line, "due="),
				want != "" && want != "none" && !strings.Contains(line, want):
				t.Errorf("%q is read as %s, want %q", c.dates[i], line, want)
			}
		}
		if len(lines) != len(c.dates) || orders[c.column] != c.order {
			t.Errorf("%q: %d lines, in the order %q", c.dates, len(lines), orders[c.column])
		}
	}
	same(t, told(t, "title,due_on\nx,03/04/2026\n", Options{Format: "csv"}),
		`2 rejected: due_on is "03/04/2026", which may be of day/month/year or of month/day/year, and the other rows of the column do not say which: write it as 2006-01-02`)
}

// A row that is broken, wherever, is rejected, and the file is read on or ends.
func TestBrokenRows(t *testing.T) {
	t.Parallel()
	same(t, told(t, "title\n\"One\n", Options{Format: "csv"}), `2 rejected: the row is no CSV: extraneous or missing " in quoted-field`)
	same(t, told(t, "title\n\"One\" x\nTwo\n", Options{Format: "csv", Mapping: nil})[:1], `2 rejected: the row is no CSV: extraneous or missing " in quoted-field`)
	same(t, told(t, "title\nCaf\xe9\n", Options{Format: "csv"}), `2 rejected: the text is not UTF-8: save the table as "CSV UTF-8"`)
	same(t, told(t, "\"title\n", Options{Format: "csv"}), `ended: read the names of the columns: parse error on line 1, column 8: extraneous or missing " in quoted-field`)
}

// Tables are as the spreadsheets of Europe write them: with semicolons or tabs, in UTF-16, with a field in several columns.
func TestTablesOfSpreadsheets(t *testing.T) {
	t.Parallel()
	want := `2 2020-01-02T00:00:00Z task.create 1 by csv title=Café, à faire status=À faire assignee=ann assignee=bob tags=a|b`
	file := "id;title;created_at;assignees;Assignees;tags;\"status\"\r\n1;Café, à faire;2020-01-02;ann;bob;\"a;b\";À faire\r\n"
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"semicolons": file, "tabs": strings.ReplaceAll(strings.ReplaceAll(file, ";", "\t"), "a\tb", "a;b"), "UTF-16": utf16} {
		t.Run(name, func(t *testing.T) { same(t, told(t, text, Options{Format: "csv"}), want) })
	}
	for text, want := range map[string]string{"À faire": "open", "EN COURS": "in_progress", "Klaar": "done", "geannuleerd": "cancelled", "Erledigt": "done"} {
		if status, known := Status(text); status != want || !known {
			t.Errorf("%s is %s", text, status)
		}
	}
}

// Whatever is in a file, reading it ends, and each reject has its line.
func TestAnyFile(t *testing.T) {
	t.Parallel()
	whole := []string{
		`{"at":"2011-08-19T08:13:00Z","actor":"p1","do":"task.create","task":"T-1","title":"One","tags":["a"],"minutes":5}` + "\n",
		`{"issues":[{"key":"A-1","fields":{"summary":"One","created":"2020-01-01T00:00:00.000+0200","status":{"name":"Done"},"labels":["x"],"comment":{"comments":[{"id":"1","body":"b"}]}}}]}`,
		`[{"number":1,"title":"One","created_at":"2020-01-01T00:00:00Z","labels":[{"name":"x"}],"comments":[{"id":1,"body":"b"}]}]`,
		"id,title,created_at,tags\n1,\"One, two\",2020-01-01,\"a;b\"\n2,Two,,\n",
	}
	rapid.Check(t, func(r *rapid.T) {
		file := rapid.SampledFrom(whole).Draw(r, "file")
		for range rapid.IntRange(0, 4).Draw(r, "changes") {
			at := rapid.IntRange(0, len(file)).Draw(r, "at")
			end := rapid.IntRange(at, len(file)).Draw(r, "end")
			piece := rapid.SampledFrom([]string{"", `"`, `""`, ",", ";", "\n", "\r", "{", "}", "[", "]", "null", "0", "-1", "1e999", `"\ud800"`, "\x00", "\xff", "\ufeff", "\xff\xfe", "é", ":"}).Draw(r, "piece")
			if rapid.Bool().Draw(r, "insert") {
				end = at
			}
			file = file[:at] + piece + file[end:]
		}
		format := rapid.SampledFrom(Formats).Draw(r, "format")
		for a, err := range Read(strings.NewReader(file), Options{Format: format, Asked: time.Now()}) {
			reject, is := errors.AsType[*Reject](err)
			if is && (reject.Line < 1 || reject.Reason == "") || err == nil && (a.Line < 1 || a.Do != SayPerson && a.At.IsZero()) {
				r.Fatalf("%s %q: %+v, %v", format, file, a, err)
			}
		}
	})
}

// forward is a file that is read once, from its beginning.
type forward struct{ io.Reader }

func (forward) Seek(int64, int) (int64, error) { return 0, errors.New("it is read once") }

// endless is a file that never ends.
type endless string

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

// A file of one piece that never ends is read no further than a piece may go.
func TestPieceWithoutEnd(t *testing.T) {
	t.Parallel()
	for format, begin := range map[string]string{"csv": "title\n\"", "jira": `{"issues":[{"key":"`, "github": `[{"title":"`} {
		last := ""
		for _, err := range Read(forward{io.MultiReader(strings.NewReader(begin), endless(strings.Repeat("x", 32<<10)))}, Options{Format: format, Asked: time.Now()}) {
			last = fmt.Sprint(err)
		}
		if !strings.Contains(last, "one piece of the file is longer than 64 MiB") {
			t.Errorf("%s: %s", format, last)
		}
	}
}
