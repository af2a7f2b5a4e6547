package commands

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

const history = `{"at":"2011-08-19T08:13:00Z","actor":"p1","do":"task.create","task":"T-1","title":"Parent","kind":"bug","project":"Web site","priority":"High","estimate_minutes":60,"assignee":"p2","body":"text"}
{"at":"2011-08-19T08:14:00Z","actor":"p2","do":"task.create","task":"T-2","title":"Child","project":"Web site","parent":"T-1","tags":["bug","ui"]}
{"at":"2011-08-19T08:15:00Z","actor":"p2","do":"comment.add","task":"T-2","comment":"C-1","body":"first"}
{"at":"2011-08-19T08:16:00Z","actor":"p2","do":"comment.edit","task":"T-2","comment":"C-1","body":"second"}
{"at":"2011-08-19T08:17:00Z","actor":"p1","do":"task.status","task":"T-1","status":"resolved"}
{"at":"2011-08-19T09:00:00Z","actor":"p1","do":"time.log","task":"T-1","start":"2011-08-19T08:00:00Z","minutes":50}
{"at":"2011-08-19T09:10:00Z","actor":"p1","do":"time.log","task":"T-2","start":"2011-08-19T08:30:00Z","minutes":40}
{"at":"2011-08-19T09:11:00Z","actor":"p1","do":"task.status","task":"T-9","status":"done"}
{"at":"2011-08-19T09:11:00Z","actor":"p1","do":"task.status","task":"T-1","status":"eaten"}
{"at":"2011-08-19T09:12:00Z","actor":"p1","do":"task.create","task":"T-3","title":"Below nothing","parent":"T-8"}
{"at":"2011-08-19T09:12:00Z","actor":"p1","do":"comment.add","task":"T-3","comment":"C-3","body":"on nothing"}
{"at":"2011-08-19T09:13:00Z","actor":"p1","do":"task.status","task":"T-1","status":"reopened"}
`

func (p *person) imports(t testing.TB, text string) (counts ImportCounts, rejects []string) {
	t.Helper()
	counts, err := p.h.Import(t.Context(), p.actor(t), home, Importing{Source: "tracker", Actions: imports.Read(strings.NewReader(text), imports.Options{Format: "tracker", Asked: time.Now()}),
		Rejected: func(r imports.Reject) { rejects = append(rejects, fmt.Sprintf("%d %s", r.Line, r.Reason)) }})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rejects)
	return counts, rejects
}

func (p *person) tasks(t testing.TB) map[string]domain.Task {
	t.Helper()
	rows := ok2(projections.Tasks.List(t.Context(), p.h.Projections, p.actor(t), projections.Page{Limit: 50}, projections.TaskFilter{}))
	named := map[string]domain.Task{}
	for _, task := range rows {
		named[task.Title] = task
	}
	return named
}

func (p *person) log(t testing.TB) []domain.Record {
	t.Helper()
	return ok(p.h.Projections.Range(t.Context(), p.in, 1, 1000))
}

func ok2[T, M any](v T, _ M, err error) T { return ok(v, err) }

// Imported things have their original times and authors, who become placeholders; the log has the time and the actor of the import. Time entries may
// overlap as they did. A line that cannot be imported is rejected, with all later lines that depend on it, and the rest is imported.
func TestImport(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	begun := time.Now()
	counts, rejects := ada.imports(t, history)
	if counts.Actions != 12 || counts.Rejected != 4 || counts.People != 2 || counts.Played["task.create"] != 2 || counts.Played["time.log"] != 2 || counts.Played["task.status"] != 2 {
		t.Errorf("%+v", counts)
	}
	want := []string{
		`10 T-3: no earlier action makes the parent task "T-8"`,
		`11 T-3: no earlier action makes the task "T-3"`,
		`8 T-9: no earlier action makes the task "T-9"`,
		`9 T-1: there is no status like "eaten"`,
	}
	if !slices.Equal(rejects, want) {
		t.Errorf("%q", rejects)
	}
	tasks := ada.tasks(t)
	parent, child := tasks["Parent"], tasks["Child"]
	if len(tasks) != 2 || parent.Status != "open" || parent.Key == nil || *parent.Key != "WEBSITE-1" || child.ParentID == nil || *child.ParentID != parent.ID || len(child.TagIDs) != 2 ||
		parent.Priority != "high" || *parent.EstimateMinutes != 60 || *parent.ExternalID != "T-1" || len(parent.AssigneeIDs) != 1 {
		t.Errorf("%+v", tasks)
	}
	if at := time.Date(2011, 8, 19, 8, 13, 0, 0, time.UTC); !parent.CreatedAt.Equal(at) || parent.UpdatedAt.Before(begun.Add(-time.Minute)) {
		t.Errorf("created at %s, updated at %s", parent.CreatedAt, parent.UpdatedAt)
	}
	if parent.CreatedBy == ada.id || parent.CreatedBy == child.CreatedBy || parent.AssigneeIDs[0] != child.CreatedBy {
		t.Errorf("by %s, %s", parent.CreatedBy, child.CreatedBy)
	}
	author := ok2(projections.Members.Get(t.Context(), h.Projections, ada.actor(t), parent.CreatedBy))
	people := ok(h.OpenMembers(t.Context(), ada.in, []domain.Member{author}))
	if author.Status != domain.Placeholder || people[author.ID].FullName != "p1" {
		t.Errorf("%+v, %+v", author, people)
	}
	for _, record := range ada.log(t)[2:] {
		if record.Actor != ada.id || record.At.Before(begun.Add(-time.Minute)) {
			t.Errorf("the log says %+v", record)
		}
	}
}

// The same file once more changes nothing. A longer file adds its new lines, and changes by members in between stay.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	lines := strings.SplitAfter(history, "\n")
	ada.imports(t, strings.Join(lines[:5], "")[:600]) // cut in the middle of a line
	half := len(ada.log(t))
	ada.imports(t, history)
	whole := ada.log(t)
	if half >= len(whole) || half < 5 {
		t.Errorf("%d events, then %d", half, len(whole))
	}
	title := "as it is called here"
	ok(h.UpdateTask(t.Context(), Request{By: ada.actor(t)}, ada.tasks(t)["Parent"].ID, domain.TaskChange{Title: &title}))
	if counts, _ := ada.imports(t, history); counts.Repeated != 8 || len(counts.Played) != 0 || counts.People != 0 {
		t.Errorf("%+v", counts)
	}
	if again := ada.log(t); len(again) != len(whole)+1 || ada.tasks(t)[title].ID == uuid.Nil {
		t.Errorf("%+v", again[len(whole):])
	}
}

// A line about a person tells who a code is: the member with the address, however it is written, or a placeholder with the name. The line is no action, and
// must come before the actions of the person.
func TestImportOfPeople(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	bob := ada.member(t, "member")
	counts, rejects := ada.imports(t, fmt.Sprintf(`{"do":"person","actor":"p1","name":"Robert","email":%q}
{"do":"person","actor":"p2","name":"Zoë","email":"nobody@one.example"}
{"do":"person","actor":"p4","name":"Nobody's address","email":"@"}
`, strings.ToUpper(bob.email))+history+`{"do":"person","actor":"p2","name":"Late"}`)
	late := `16 an earlier line is about the person "p2": describe a person before the first line about that person`
	if counts.Actions != 12 || counts.People != 2 || len(rejects) != 5 || !slices.Contains(rejects, late) {
		t.Errorf("%+v, %q", counts, rejects)
	}
	tasks := ada.tasks(t)
	if tasks["Parent"].CreatedBy != bob.id {
		t.Errorf("%+v is not by %s", tasks["Parent"], bob.id)
	}
	author := ok2(projections.Members.Get(t.Context(), h.Projections, ada.actor(t), tasks["Child"].CreatedBy))
	people := ok(h.OpenMembers(t.Context(), ada.in, []domain.Member{author}))
	if author.Status != domain.Placeholder || people[author.ID].FullName != "Zoë" {
		t.Errorf("%+v, %+v", author, people)
	}
}

// Who a person is, is decided once: a later file of the source that does not say it, or an address that a member has got since, makes no second
// person of them, and nothing is done again. After the person has left it is decided anew, and after an erasure nothing remembers them.
func TestImportKnowsPeopleAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	bob := ada.member(t, "member")
	people := func(code, email string) string {
		return fmt.Sprintf(`{"do":"person","actor":%q,"name":"Somebody","email":%q}`+"\n", code, email)
	}
	if counts, _ := ada.imports(t, people("p1", bob.email)+history); counts.People != 1 {
		t.Fatalf("%+v", counts)
	}
	first := ada.tasks(t)
	if first["Parent"].CreatedBy != bob.id {
		t.Fatalf("%+v", first["Parent"])
	}
	zoe := ada.member(t, "member") // whom the first import did not know by the address
	for name, file := range map[string]string{"without its people": history, "with other addresses": people("p1", "another@one.example") + people("p2", zoe.email) + history} {
		counts, _ := ada.imports(t, file)
		if counts.People != 0 || len(counts.Played) != 0 || counts.Repeated != 8 {
			t.Errorf("%s: %+v", name, counts)
		}
	}
	if _, err := h.RemoveMember(t.Context(), Request{By: ada.actor(t)}, bob.id); err != nil {
		t.Fatal(err)
	}
	again := strings.ReplaceAll(history, `"C-1"`, `"C-9"`) + `{"at":"2011-08-20T08:00:00Z","actor":"p1","do":"task.create","task":"T-7","title":"Later"}` + "\n"
	for range 2 {
		ada.imports(t, again)
	}
	if later := ada.tasks(t)["Later"]; later.CreatedBy == bob.id || later.CreatedBy == uuid.Nil {
		t.Errorf("by somebody who left: %+v", later)
	}
	kept := func() (n int) {
		if err := h.DB.Read(t.Context(), ada.in, pg.Exec(`select count(*) from dedupe where answer::text = '"' || $1 || '"'`, bob.id.String()).Scan(&n)); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if kept() != 1 {
		t.Errorf("%d keys of somebody who left", kept())
	}
	if _, err := h.EraseMember(t.Context(), Request{By: ada.actor(t)}, bob.id); err != nil {
		t.Fatal(err)
	}
	if kept() != 0 {
		t.Errorf("%d keys of somebody who was erased", kept())
	}
}

// Two actions that differ in any field are two, even at one instant and by one person. The same action twice is one.
func TestImportOfLookAlikes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	log := func(minutes int, activity string) string {
		return fmt.Sprintf(`{"at":"2011-08-19T09:00:00Z","actor":"p1","do":"time.log","task":"T-1","start":"2011-08-19T08:00:00Z","minutes":%d,"activity":%q}`+"\n", minutes, activity)
	}
	edit := func(body string) string {
		return fmt.Sprintf(`{"at":"2011-08-19T09:00:00Z","actor":"p1","do":"comment.edit","task":"T-1","comment":"C-1","body":%q}`+"\n", body)
	}
	counts, rejects := ada.imports(t, `{"at":"2011-08-19T08:00:00Z","actor":"p1","do":"task.create","task":"T-1","title":"One"}
{"at":"2011-08-19T08:01:00Z","actor":"p1","do":"comment.add","task":"T-1","comment":"C-1","body":"a"}
`+log(10, "x")+log(20, "x")+log(20, "y")+log(20, "y")+edit("b")+edit("c")+edit("c"))
	if counts.Played["time.log"] != 3 || counts.Played["comment.edit"] != 2 || counts.Repeated != 2 || len(rejects) > 0 {
		t.Errorf("%+v %q", counts, rejects)
	}
}

// A placeholder always has a valid name of a member, whatever the person is called over there.
func TestPlaceholderNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ name, code, want string }{
		{"Bob Smith", "b1", "Bob Smith"}, {"", "b1", "b1"}, {"bob@example.org", "bob@example.org", "bob"}, {"", "bob.smith@example.org", "bob smith"},
		{"bob.smith", "b1", "b1"}, {"https://evil.example", "x.io/zed", "x io zed"}, {"a\x00b", "\x01", "Somebody"}, {"", "", "Somebody"}, {long, "b1", long[:199] + "…"},
	} {
		if got := placeholderName(imports.Person{Name: c.name, Code: c.code}); got != c.want || domain.CheckName("", got) != nil {
			t.Errorf("%q, %q: %q, want %q", c.name, c.code, got, c.want)
		}
	}
}

// An invited placeholder becomes the member who did everything that was imported.
func TestPlaceholderIsClaimed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	ada.imports(t, history)
	author := ada.tasks(t)["Parent"].CreatedBy
	invite := func(id uuid.UUID, email string) (Result[domain.Member], error) {
		return h.InviteMember(t.Context(), Request{By: ada.actor(t)}, Invitation{Email: email, FullName: "Peter One", Role: "member", PlaceholderID: &id})
	}
	done := ok(invite(author, "peter@one.example"))
	if done.State.ID != author || done.State.Status != domain.Invited || done.State.Role != "member" {
		t.Errorf("%+v", done.State)
	}
	for _, id := range []uuid.UUID{author, ada.id, uuid.New()} { // a former placeholder, a member who never was one, and nobody
		if _, err := invite(id, "another@one.example"); err == nil || !strings.Contains(err.Error(), "no such placeholder") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := h.ChangeRole(t.Context(), Request{By: ada.actor(t)}, ada.tasks(t)["Child"].CreatedBy, "admin"); err == nil || !strings.Contains(err.Error(), "placeholder") {
		t.Errorf("a placeholder got a role: %v", err)
	}
}

// TestImportOfAFile plays the file that the environment names, one org after the other, and logs how long that takes.
func TestImportOfAFile(t *testing.T) {
	file := os.Getenv("KLUIS_IMPORT_FILE")
	if file == "" {
		t.Skip("no KLUIS_IMPORT_FILE")
	}
	h := newHouse(t, settings{})
	for _, org := range []string{"o2", "o3", "o4", "o5"} {
		f := ok(os.Open(file))
		start := time.Now()
		counts, err := h.Import(t.Context(), h.found(t).actor(t), home, Importing{Source: "tracker", Actions: imports.Read(f, imports.Options{Format: "tracker", Org: org, Asked: time.Now()})})
		_ = f.Close() // it was only read
		t.Log(org, counts, err, float64(counts.Actions)/time.Since(start).Seconds(), "a second")
	}
}
