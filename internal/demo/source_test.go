package demo

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func played(text string) source {
	return source{"file", strings.NewReader(text), func() error { return nil }}
}

func TestRead(t *testing.T) {
	text := "\ufeff" + line(createTask, `"title":"x","assignee":"p2"`) + "\r\n\n" + line(addComment, `"comment":"C","body":"x"`) + "\n" +
		strings.ReplaceAll(line(createTask, `"title":"y"`), `"org":"o"`, `"org":"other"`) + "\n" + line(editComment, `"comment":"C"`)
	p, err := played(text).read()
	if err != nil {
		t.Fatal(err)
	}
	o := p.byName["o"]
	if p.actions != 4 || len(p.orgs) != 2 || p.orgs[0] != o || p.people() != 3 || strings.Join(o.people, " ") != "p1 p2" || !o.edited["C"] {
		t.Errorf("%+v, %+v", p, o)
	}
	var lines []int
	for a, err := range played(text).actions() {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, a.Line)
	}
	if len(lines) != 4 || lines[1] != 3 || lines[3] != 5 {
		t.Errorf("lines %v", lines)
	}
}

func TestReadRefuses(t *testing.T) {
	task := line(createTask, `"title":"x"`) + "\n"
	other := strings.ReplaceAll(line(createTask, `"title":"x"`), `"T"`, `"U"`) + "\n"
	said := line(addComment, `"comment":"C","body":"x"`) + "\n"
	for text, want := range map[string]string{
		"":                "there is no action in it",
		"\n \n":           "there is no action in it",
		task + "\nbroken": "file, line 3: not a JSON object",
		task + task:       `line 2: the task "T" is there already`,
		said:              `line 1: no line before creates the task "T" in org "o"`,
		task + said + strings.ReplaceAll(said, `"org":"o"`, `"org":"other"`): `line 3: no line before creates the task "T" in org "other"`,
		task + line(createTask, `"title":"x","parent":"T"`):                  `line 2: the task "T" is there already`,
		line(createTask, `"title":"x","parent":"T"`):                         `line 1: no line before creates the parent "T"`,
		task + said + said:                        `line 3: the comment "C" is there already`,
		task + line(editComment, `"comment":"C"`): `line 2: no line before adds the comment "C"`,
		task + other + said + strings.ReplaceAll(line(editComment, `"comment":"C"`), `"T"`, `"U"`): `line 4: the comment "C" is on the task "T", not on "U"`,
		task + line(logTime, `"start":"2026-03-02T07:30:00Z","minutes":-1`):                        "line 2: minutes are less than 0",
		task + line(createTask, `"title":"`+strings.Repeat("x", maxLine)+`"`):                      "line 2: longer than",
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
	if all, err := io.ReadAll(s.file); err != nil && string(all) != "one\ntwo" {
		t.Errorf("%q, %v", all, err)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The sample shows at once what a real file has.
func TestSample(t *testing.T) {
	s, err := open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for a, err := range s.actions() {
		if err != nil || len(a.Unknown) > 0 {
			t.Fatal(err, a.Unknown)
		}
		count[a.Do]++
		if a.Parent != "" {
			count["parent"]++
		}
	}
	if len(p.orgs) != 2 || p.actions < 60 || p.actions > 100 {
		t.Errorf("%d orgs, %d actions", len(p.orgs), p.actions)
	}
	for _, do := range append(verbs(), "parent") {
		if count[do] < 3 {
			t.Errorf("%s: %d times", do, count[do])
		}
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
