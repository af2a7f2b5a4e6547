package demo

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func played(text string) source {
	return source{"file", strings.NewReader(text), func() error { return nil }}
}

const (
	task    = "task.create"
	comment = "comment.add"
)

// An import reads the lines of its org, after the lines about people, at their places in the file.
func TestHistory(t *testing.T) {
	other := strings.ReplaceAll(line(task, `"title":"y"`), `"org":"o"`, `"org":"other"`)
	first, last := line(task, `"title":"x","assignee":"p2"`), line(comment, `"comment":"C"`)
	s := played("\ufeff" + first + "\r\n\n" + other + "\n" + last)
	p, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	o := p.orgs[0]
	if p.actions != 3 || len(p.orgs) != 2 || o.name != "o" || p.people() != 3 || strings.Join(o.people, " ") != "p1 p2" {
		t.Errorf("%+v, %+v", p, o)
	}
	text, err := io.ReadAll(s.history(&workspace{plan: o, names: names{"o-1"}, locals: locals(o.people)}))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	slices.Sort(lines[:2])
	want := []string{`{"actor":"p1","do":"person","email":"p1@o-1.demo.example","name":"Person 1"}`, `{"actor":"p2","do":"person","email":"p2@o-1.demo.example","name":"Person 2"}`,
		first, "", "", last, ""}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "there is no action in it", "\n\n": "there is no action in it",
		line(task, "") + "\n" + "{":                              "file, line 2: not a JSON object",
		line(task, `"title":"`+strings.Repeat("x", maxLine)+`"`): "line 1: longer than",
	} {
		if _, err := played(text).read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300s: error %v, want %q", text, err, want)
		}
	}
}

func TestStandardInputIsPutAside(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := open("-", strings.NewReader("one\ntwo"))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(io.NewSectionReader(s.file, 0, 100)); err != nil || string(all) != "one\ntwo" {
		t.Errorf("%q, %v", all, err)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The sample has everything that a real file has.
func TestSample(t *testing.T) {
	s, err := open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.read()
	if err != nil || len(p.orgs) != 2 || p.actions < 60 || p.actions > 100 {
		t.Fatalf("%+v, %v", p, err)
	}
	count := map[string]int{}
	for a, err := range s.actions() {
		if err != nil {
			t.Fatal(err)
		}
		count[a.Do]++
	}
	for _, do := range []string{task, comment, "task.status", "comment.edit", "time.log"} {
		if count[do] < 3 {
			t.Errorf("%s: %d times", do, count[do])
		}
	}
}

// The counts of a file come from its lines, without the rejected ones.
func TestCount(t *testing.T) {
	found, err := played(strings.Join([]string{
		line(task, `"title":"x","kind":"Bug","tags":["bug",",android ,"],"status":"closed"`),
		line(task, `"title":"rejected","tags":["none"]`),
		line("task.status", `"status":"Reopened"`),
		line(comment, `"comment":"C"`),
		line(comment, `"comment":"C"`),
		line("time.log", `"start":"2026-03-31T23:00:00-04:00","minutes":20`),
		line("time.log", `"start":"2026-04-30T23:00:00Z","minutes":25`),
		strings.ReplaceAll(line(comment, `"comment":"D"`), `"org":"o"`, `"org":"other"`),
	}, "\n")).count("o", map[int]bool{2: true, 5: true})
	want := counts{{"tasks", "open"}: 1, {"tags", "bug"}: 1, {"tags", "android"}: 1, {"comments", ""}: 1, {"minutes", "p1 2026-04"}: 45}
	if err != nil || !maps.Equal(found, want) {
		t.Errorf("%v, %v", found, err)
	}
	delete(found, what{"tags", "bug"})
	found[what{"tasks", "done"}] = 2
	if told := strings.Join(want.differences(found), "; "); told != "tags bug: 1 in the file, 0 on the server; tasks done: 0 in the file, 2 on the server" {
		t.Error(told)
	}
}

func TestNames(t *testing.T) {
	for org, want := range map[string]string{
		"o2": "demo-o2-", "Bäckerei & Söhne": "demo-b-ckerei-s-hne-", "李": "demo-org-", strings.Repeat("x", 100): "demo-" + strings.Repeat("x", 40) + "-",
	} {
		n := newNames(org)
		if rest, ok := strings.CutPrefix(n.slug(), want); !ok || len(rest) != 4 || len(n.slug()) > 63 {
			t.Errorf("%s: slug %s", org, n.slug())
		}
		if n == newNames(org) {
			t.Errorf("%s: the same names twice: %v", org, n)
		}
	}
	people := []string{"p015", "Zoë", "zoë", "李", "محمد", "admin", "person", strings.Repeat("y", 100)}
	got := locals(people)
	for i, want := range []string{"p015", "zo", "zo-2", "person", "person-2", "admin-2", "person-3", strings.Repeat("y", 50)} {
		if got[people[i]] != want {
			t.Errorf("%s is %s, want %s", people[i], got[people[i]], want)
		}
	}
	if fullName("p015") != "Person 015" || fullName("Zoë") != "Zoë" {
		t.Error(fullName("p015"), fullName("Zoë"))
	}
}
