package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/projections"
)

type apiImport struct {
	domain.Import
	Counts  commands.ImportCounts
	Rejects []imports.Reject
}

// imported waits for the end of an import.
func (c *client) imported(t tester, i domain.Import) (done apiImport) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		done = decode[apiImport](t, c.call(t, "GET", "/api/import/"+i.ID.String(), nil).want(t, 200))
		if done.Status != domain.ImportWaiting {
			return done
		}
		if time.Now().After(end) {
			t.Fatalf("the import does not end: %+v", done)
		}
	}
}

// A file that was taken in is played in the background, with what cannot be imported told by line; the log is right by the rule of every
// noun, the read models are its folds, and the same file again changes nothing.
func TestImport(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	var lines []string
	for n := range 30 {
		lines = append(lines, fmt.Sprintf(`{"at":"2020-01-01T00:%02d:00Z","actor":"p%d","do":"task.create","task":"T-%d","title":"Task %d","project":"Big project","kind":"bug","assignee":"p%d"}`, n, n%3, n, n, (n+1)%3),
			fmt.Sprintf(`{"at":"2020-01-02T00:%02d:00Z","actor":"p%d","do":"comment.add","task":"T-%d","comment":"C-%d","body":"said"}`, n, n%3, n, n),
			fmt.Sprintf(`{"at":"2020-01-03T00:%02d:00Z","actor":"p%d","do":"task.status","task":"T-%d","status":"closed"}`, n, n%3, n))
	}
	lines = append(lines, `{"at":"2020-01-04T00:00:00Z","actor":"p1","do":"task.status","task":"T-99","status":"closed"}`, `{"at":"2020-01-`)
	text := strings.Join(lines, "\n")
	done := ada.imported(t, ada.imports(t, text))
	if done.Status != domain.ImportDone || done.Counts.Actions != 92 || done.Counts.Rejected != 2 || len(done.Rejects) != 2 || done.Rejects[0].Line != 91 || done.Rejects[1].Line != 92 || done.Counts.People != 3 {
		t.Errorf("%+v", done)
	}
	tasks := pages[domain.Task](t, ada, "/api/tasks?status=done", 50)
	if len(tasks) != 30 {
		t.Fatalf("%d tasks", len(tasks))
	}
	told := map[string]int{} // what somebody is told who did all of it elsewhere
	for _, e := range decode[personData](t, ada.call(t, "POST", "/api/members/"+tasks[0].CreatedBy.String()+"/data", nil).want(t, 200)).Events {
		told[e.Type]++
	}
	if told["task.created"] != 10 || told["comment.created"] != 10 || told["task.completed"] != 10 {
		t.Errorf("of what was done elsewhere: %v", told)
	}
	ada.judge(t)
	ada.noDrift(t)
	before := len(ada.replay(t, 1))
	if again := ada.imported(t, ada.imports(t, text)); again.Counts.Repeated != 90 || again.Counts.People != 0 {
		t.Errorf("%+v", again)
	}
	if after := len(ada.replay(t, 1)); after != before+2 {
		t.Errorf("%d records, then %d", before, after)
	}
	more := strings.ReplaceAll(text, "T-", "U-")
	more = strings.ReplaceAll(more, "C-", "D-")
	first, second := ada.imports(t, more), ada.imports(t, more) // twice at once
	once, twice := ada.imported(t, first), ada.imported(t, second)
	if once.Counts.Rejected != 2 || twice.Counts.Rejected != 2 || once.Counts.Repeated+twice.Counts.Repeated != 90 {
		t.Errorf("%+v, then %+v", once, twice)
	}
	for query, why := range map[string]string{"format=xls": "no such format", "format=tracker&mapping=%7B%7D": "", "format=csv&mapping=x": "no JSON", "format=jira&org=o2": "no organisations", "": "no format"} {
		if a := ada.call(t, "POST", "/api/import?"+query, object{"file": file{"a", "b"}}); a.status != 422 && why != "" {
			t.Errorf("%s: %d %s", why, a.status, a.body)
		}
	}
	ada.member(t, "manager").call(t, "POST", "/api/import?format=tracker", object{"file": file{"a", "b"}}).want(t, 403)
}

// A fault of ours in playing a file ends that import, and not the process with all that it does for others.
func TestPanicOfAnImport(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	broken := func(func(imports.Action, error) bool) { panic("a fault of ours") }
	if _, err := p.commands.Import(t.Context(), projections.Actor{Workspace: ada.workspace, Member: ada.id}, commands.Origin{}, commands.Importing{Source: "broken", Actions: broken}); err == nil || !strings.Contains(err.Error(), "a fault of ours") {
		t.Errorf("%v", err)
	}
	for format, text := range map[string]string{"csv": "title\n\"One\n", "jira": `{"issues":[[[`, "github": `[null,{"number":1}]`, "tracker": "\"\n[]\nnull\n{}"} {
		asked := decode[domain.Import](t, ada.call(t, "POST", "/api/import?format="+format, object{"file": file{"broken", text}}).want(t, 202))
		if done := ada.imported(t, asked); done.Status != domain.ImportDone || done.Counts.Rejected == 0 {
			t.Errorf("%s: %+v", format, done)
		}
	}
}
