package promises

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// A cursor goes on in the list, with the filters and in the order that it was given for, of that workspace, however many there are a page; any
// other list refuses it.
func TestCursorsFitOneList(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	for range 3 {
		ada.newTask(t)
		eve.newTask(t)
	}
	cursor := func(path string) string {
		next := decode[list[any]](t, ada.call(t, "GET", path, nil).want(t, 200)).NextCursor
		if next == nil {
			t.Fatalf("%s has one page", path)
		}
		return *next
	}
	const asked = "/api/tasks?status=open&sort=-due_on,priority"
	good := cursor(asked + "&limit=1")
	for _, more := range []string{"", "&limit=2", "&total=true", "&consistency=eventual"} {
		if a := ada.call(t, "GET", asked+more+"&cursor="+good, nil).want(t, 200); len(decode[list[any]](t, a).Items) == 0 {
			t.Errorf("%s: %s", more, a.body)
		}
	}
	made := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	data, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"/api/tasks?": good, "/api/tasks?status=done&sort=-due_on,priority&": good, "/api/tasks?status=open&sort=due_on,priority&": good,
		"/api/tasks?status=open&sort=-due_on&": good, "/api/tasks?status=open&deleted=true&sort=-due_on,priority&": good, "/api/projects?": good,
		asked + "&": cursor("/api/tasks?limit=1")}
	for at, c := range bad {
		if a := ada.call(t, "GET", at+"cursor="+c, nil); a.status != 422 || decode[problem](t, a).Code != "invalid_cursor" {
			t.Errorf("%s: %d %s", at, a.status, a.body)
		}
	}
	if a := eve.call(t, "GET", asked+"&cursor="+good, nil); a.status != 422 || decode[problem](t, a).Code != "invalid_cursor" {
		t.Errorf("of another workspace: %d %s", a.status, a.body)
	}
	// whoever makes a place up gets no more than the list has, and no error of ours
	for _, values := range []string{`["2026-01-01","x"]`, `["0000-01-01","none"]`, `["2026-02-30","none"]`, `[1,"none"]`, `[null]`, `[]`, `[null,null]`, `[null,"none","x"]`} {
		text := string(data[:strings.Index(string(data), `"v":`)]) + `"v":` + values + `,"id":"` + uuid.NewString() + `"}]`
		if a := ada.call(t, "GET", asked+"&cursor="+made(text), nil); a.status != 200 && a.status != 422 {
			t.Errorf("%s: %d %s", text, a.status, a.body)
		}
	}
}

// What a filter, a search or an order does not take is refused, and the refusal says what it takes.
func TestFiltersSayWhatTheyTake(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	many := func(n int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = uuid.NewString()
		}
		return strings.Join(ids, ",")
	}
	for query, says := range map[string]string{
		"assignee_id=" + many(500): "100", "tag_id=" + many(101): "100", "project_id=" + many(101): "100", "assignee_id=x": "UUID", "assignee_id=" + many(1) + ",": "UUID",
		"project_id=web": "keys", "status=finished": "in_progress", "status=open,finished": "in_progress", "priority=3": "urgent", "sort=title": "due_on", "sort=due_on,-due_on": "different",
		"sort=due_on,status,rank": "", "due_before=tomorrow": "date", "due_before=2026-02-30": "date", "due=someday": "this_week", "updated_since=today": "instant",
		"q=" + strings.Repeat("a", 10_000): "200", "q=%21%3F": "letter", "external_id=7": "external_source", "deleted=perhaps": "", "total=2": "",
	} {
		a := ada.call(t, "GET", "/api/tasks?"+query, nil)
		if a.status != 422 || !strings.Contains(string(a.body), says) {
			t.Errorf("%.60s: %d %s", query, a.status, a.body)
		}
	}
	for _, query := range []string{"assignee_id=" + many(100), "assignee_id=none", "tag_id=none," + many(1), "project_id=none,WEB," + many(1), "parent_id=none", "q=a", "q=a+b+c+d+e+f+g+h",
		"q=" + strings.Repeat("a", 200), "q=%E6%9D%B1", "q=%27x%27%3A%2A+%26+%5C+%28y", "status=open,done,cancelled,in_progress", "due=this_week", "sort=-key,rank", "due_before=9999-12-31&due_after=0001-01-01"} {
		ada.call(t, "GET", "/api/tasks?"+query, nil).want(t, 200)
	}
}

// What is written is found: by several values of a filter, by a project's key, by a tag that others were merged into, by words in comments; and
// the total is the number of all.
func TestTasksAreFound(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	project := decode[domain.Project](t, ada.call(t, "POST", "/api/projects", object{"key": "WEB", "name": "Web"}).want(t, 201))
	tag := func(name string) string {
		return decode[domain.Tag](t, ada.call(t, "POST", "/api/tags", object{"name": name}).want(t, 201)).ID.String()
	}
	old, now := tag("old"), tag("now")
	task := func(title string, more object) string {
		more["title"] = title
		return decode[domain.Task](t, ada.call(t, "POST", "/api/tasks", more).want(t, 201)).ID.String()
	}
	door := task("Paint the door", object{"project_id": project.ID, "tag_ids": []string{old}, "priority": "high", "due_on": "2026-03-29"})
	cafe := task("Un café", object{"status": "in_progress", "priority": "urgent", "assignee_ids": []uuid.UUID{ada.id}})
	tea := task("Tea", object{"priority": "low", "description": "東京都で"})
	ada.call(t, "POST", "/api/tags/"+old+"/merge", object{"into": now}).want(t, 204)
	ada.call(t, "POST", "/api/tasks/"+tea+"/comments", object{"body": "Two coats of Lack, ÜBERALL"}).want(t, 201)
	gone := decode[domain.Comment](t, ada.call(t, "POST", "/api/tasks/"+cafe+"/comments", object{"body": "coats"}).want(t, 201))
	ada.call(t, "DELETE", "/api/comments/"+gone.ID.String(), nil).want(t, 204)
	for query, want := range map[string][]string{
		"sort=priority": {tea, door, cafe}, "sort=-priority&status=open,done": {door, tea}, "project_id=WEB": {door}, "project_id=WEB,none": {tea, cafe, door}, "tag_id=" + now: {door}, "tag_id=none": {tea, cafe},
		"priority=high,urgent": {cafe, door}, "assignee_id=none": {tea, door}, "due_before=2026-03-30": {door}, "due_before=2026-03-29": {}, "due=none": {tea, cafe}, "due=overdue": {door},
		"q=coat": {tea}, "q=uberall+LACK": {tea}, "q=cafe": {cafe}, "q=%E4%BA%AC%E9%83%BD": {tea}, "q=pai+doo": {door}, "q=a": {}, "q=door&project_id=none": {}, "sort=key": {door, cafe, tea},
		"q=WEB-1": {door}, "q=+web-1%0A": {door}, "q=WEB-1&status=done": {}, "q=WEB-2": {}, "q=WEB": {},
	} {
		answer := decode[struct {
			Items []domain.Task
			Total int
		}](t, ada.call(t, "GET", "/api/tasks?total=true&limit=1&"+query, nil).want(t, 200))
		got := []string{}
		for _, task := range pages[domain.Task](t, ada, "/api/tasks?"+query, 1) {
			got = append(got, task.ID.String())
		}
		if !slices.Equal(got, want) || answer.Total != len(want) {
			t.Errorf("%s: %v and a total of %d, want %v", query, got, answer.Total, want)
		}
	}
	ada.call(t, "DELETE", "/api/tasks/"+tea, nil).want(t, 204)
	if got := ids(t, ada.call(t, "GET", "/api/tasks?deleted=true&q=coats", nil)); fmt.Sprint(got) != fmt.Sprint([]string{tea}) {
		t.Errorf("in the trash: %v", got)
	}
	if got := ids(t, ada.call(t, "GET", "/api/projects?q=web&sort=name", nil)); len(got) != 1 {
		t.Errorf("projects: %v", got)
	}
	if got := ids(t, ada.call(t, "GET", "/api/tags?q=NOW", nil)); len(got) != 1 {
		t.Errorf("tags: %v", got)
	}
	ada.noDrift(t)
}
