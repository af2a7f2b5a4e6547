package promises

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
)

// board is tasks, people with changing roles, and what each may see of the tasks.
type board struct {
	admin  *client
	people []*client
	roles  []string
	tasks  []uuid.UUID
}

func newBoard(t *testing.T, p []*process) *board {
	t.Helper()
	b := &board{admin: p[0].signUp(t), roles: []string{"member", "member", "member"}}
	for i := range b.roles {
		b.people = append(b.people, b.admin.member(t, "member").on(p[i%len(p)]))
	}
	for i := range 9 {
		task := append(b.people, b.admin)[i%4].newTask(t)
		b.tasks = append(b.tasks, task.ID)
		b.people[i%3].call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).want(t, 201)
	}
	return b
}

// change makes one random change of who may see what.
func (b *board) change(t *rapid.T) {
	t.Helper()
	i := rapid.IntRange(0, len(b.people)-1).Draw(t, "person")
	at := "/api/tasks/" + b.tasks[rapid.IntRange(0, len(b.tasks)-1).Draw(t, "task")].String()
	switch rapid.IntRange(0, 5).Draw(t, "change") {
	case 0, 5:
		b.roles[i] = "viewer" // the one that has scope own on what it may read
		if rapid.Bool().Draw(t, "another role") {
			b.roles[i] = rapid.SampledFrom(domain.BuiltInRoles[1:]).Draw(t, "role").Name
		}
		b.admin.call(t, "PATCH", "/api/members/"+b.people[i].id.String(), object{"role": b.roles[i]}).want(t, 200)
	case 1, 2:
		method := rapid.SampledFrom([]string{"PUT", "DELETE"}).Draw(t, "method")
		as := rapid.SampledFrom([]string{"/assignees/", "/viewers/"}).Draw(t, "as")
		b.admin.call(t, method, at+as+b.people[i].id.String(), nil)
	case 3:
		if b.admin.call(t, "POST", at+"/restore", nil).status != 200 {
			t.Fatalf("%s is gone", at)
		}
		if rapid.Bool().Draw(t, "delete") {
			b.admin.call(t, "DELETE", at, nil).want(t, 204)
		}
	case 4:
		b.admin.call(t, "PATCH", at, object{"status": rapid.SampledFrom(domain.TaskStatuses).Draw(t, "status")})
	}
}

// visible are the tasks that a person may see, the newest first, as the admin sees them: those that are there, or those
// that are deleted.
func (b *board) visible(t *rapid.T, i int, deleted bool) (tasks []domain.Task) {
	t.Helper()
	role, _ := domain.BuiltInRole(b.roles[i])
	for _, task := range decode[list[domain.Task]](t, b.admin.call(t, "GET", fmt.Sprintf("/api/tasks?limit=200&deleted=%t", deleted), nil).want(t, 200)).Items {
		me := b.people[i].id
		own := task.CreatedBy == me || slices.Contains(task.AssigneeIDs, me) || slices.Contains(task.ViewerIDs, me)
		if scope := role.Grants.Scope(domain.ReadTask); scope == domain.All || scope == domain.Own && own {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// compare looks at the board as one person, in every way that there is.
func (b *board) compare(t *rapid.T) {
	t.Helper()
	i := rapid.IntRange(0, len(b.people)-1).Draw(t, "who")
	me, visible, gone := b.people[i], b.visible(t, i, false), b.visible(t, i, true)
	limit := rapid.IntRange(1, 12).Draw(t, "limit")
	if diff := cmp.Diff(visible, pages[domain.Task](t, me, "/api/tasks", limit)); diff != "" {
		t.Fatalf("%s, %d at a time: %s", b.roles[i], limit, diff)
	}
	if diff := cmp.Diff(gone, pages[domain.Task](t, me, "/api/tasks?deleted=true", limit)); diff != "" {
		t.Fatalf("%s, deleted, %d at a time: %s", b.roles[i], limit, diff)
	}
	status, whose := rapid.SampledFrom(domain.TaskStatuses).Draw(t, "status"), rapid.SampledFrom(b.people).Draw(t, "assignee").id
	var filtered []domain.Task
	for _, task := range visible {
		if task.Status == status && slices.Contains(task.AssigneeIDs, whose) {
			filtered = append(filtered, task)
		}
	}
	if diff := cmp.Diff(filtered, pages[domain.Task](t, me, "/api/tasks?status="+status+"&assignee_id="+whose.String(), limit)); diff != "" {
		t.Fatalf("%s, filtered, %d at a time: %s", b.roles[i], limit, diff)
	}
	for _, id := range b.tasks {
		at := "/api/tasks/" + id.String()
		n := slices.IndexFunc(visible, func(task domain.Task) bool { return task.ID == id })
		want := map[bool]int{true: 200, false: 404}[n >= 0]
		now := "?as_of=" + url.QueryEscape(time.Now().Add(time.Minute).Format(time.RFC3339))
		more := rapid.SampledFrom([]string{"", "/history", "/comments", now}).Draw(t, "how")
		if more == "/history" && slices.ContainsFunc(gone, func(task domain.Task) bool { return task.ID == id }) {
			want = 200 // who saw it may know who deleted it
		}
		a := me.call(t, "GET", at+more, nil)
		if a.status != want {
			t.Fatalf("%s: %s: %d, not %d", b.roles[i], a.what, a.status, want)
		}
		if want == 200 && (more == "" || more == now) {
			if diff := cmp.Diff(visible[n], decode[domain.Task](t, a)); diff != "" {
				t.Fatalf("%s: %s: %s", b.roles[i], a.what, diff)
			}
		}
	}
}

// A list has just what GET answers with, whoever asks, and so have history, comments and the past.
func TestListsShowWhatGetShows(t *testing.T) {
	t.Parallel()
	b := newBoard(t, newProcesses(t, 2, false))
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			b.change(t)
		}
		b.compare(t)
	})
	b.admin.judge(t)
	b.admin.noDrift(t)
}

func TestPaging(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	for i := range 6 {
		ada.newTask(t)
		ada.invite(t, "viewer")
		ada.call(t, "POST", taskPath(task, "comments"), object{"body": fmt.Sprint(i)}).want(t, 201)
	}
	lists := []string{"/api/tasks", "/api/members", taskPath(task, "comments"), "/api/audit/events"}
	for _, path := range lists {
		all := ids(t, ada.call(t, "GET", path+"?limit=200", nil))
		if len(all) < 6 || !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("%s: not the newest first: %v", path, all)
		}
		for limit := 1; limit <= len(all)+1; limit++ {
			var got []string
			for _, item := range pages[struct{ ID string }](t, ada, path, limit) {
				got = append(got, item.ID)
			}
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("%s, %d at a time: %s", path, limit, diff)
			}
		}
		for _, query := range []string{"limit=0", "limit=-1", "limit=201", "limit=1.5", "limit=x", "limit=", "limit=1&limit=2", "limit=99999999999999999999", "limit=+1",
			"limit=0x10", "limit=1e1", "limit=%201", "page=2", "Limit=1", "consistency=never"} {
			if a := ada.call(t, "GET", path+"?"+query, nil); a.status != 422 {
				t.Errorf("%s?%s: %d %.200s", path, query, a.status, a.body)
			}
		}
		for _, cursor := range badCursors(t, ada, path, lists) {
			if a := ada.call(t, "GET", path+"?cursor="+cursor, nil); a.status != 422 || decode[problem](t, a).Errors[0].Pointer != "/cursor" {
				t.Errorf("%s?cursor=%s: %d %.200s", path, cursor, a.status, a.body)
			}
		}
	}
}

// wantListed compares a list, whole and in pages of each size, with what it is to have.
func (c *client) wantListed(t *testing.T, path, query string, want ...string) {
	t.Helper()
	target, more := path, ""
	if query != "" {
		target, more = path+"?"+query, "&"+query
	}
	whole := decode[struct {
		Items []struct{ ID string }
		Total int
	}](t, c.call(t, "GET", path+"?total=true&limit=200"+more, nil).want(t, 200))
	if whole.Total != len(want) {
		t.Errorf("%s: total %d of %d", target, whole.Total, len(want))
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for _, item := range pages[struct{ ID string }](t, c, target, limit) {
			got = append(got, item.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, %d at a time: %s", target, limit, diff)
		}
	}
}

// Members are found by names that the database cannot read, and listed by what they are, or were.
func TestListOfMembers(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob, ivy, dan, out := ada.member(t, "manager"), ada.invite(t, "viewer"), ada.member(t, "viewer"), ada.invite(t, "viewer")
	ada.call(t, "DELETE", "/api/members/"+out.id.String(), nil).want(t, 204)
	records := ada.log(t)
	before := "&" + asOf(records[len(records)-1].At)
	ada.call(t, "POST", "/api/members/"+dan.id.String()+"/deactivate", nil).want(t, 200)
	people := func(all ...*client) (ids []string) {
		for _, c := range all {
			ids = append(ids, c.id.String())
		}
		return ids
	}
	for query, want := range map[string][]string{
		"":                         people(dan, ivy, bob, ada),
		"sort=created_at":          people(ada, bob, ivy, dan),
		"sort=status":              people(ivy, ada, bob, dan),
		"sort=-status,-updated_at": people(dan, bob, ada, ivy),
		"status=invited":           people(ivy),
		"status=active,invited":    people(ivy, bob, ada),
		"status=deactivated":       people(dan),
		"status=placeholder":       people(),
		"role=manager,viewer":      people(dan, ivy, bob),
		"role=" + uuid.NewString(): people(),
		"q=" + url.QueryEscape(strings.ToUpper(bob.name)):                                      people(bob),
		"q=" + url.QueryEscape(dan.email):                                                      people(dan),
		"q=" + ivy.email[:9]:                                                                   people(ivy),
		"q=people&role=viewer&status=invited":                                                  people(ivy),
		"q=" + ivy.email[:9] + "&status=active":                                                people(),
		"q=" + url.QueryEscape(out.email):                                                      people(),
		"updated_since=" + url.QueryEscape("2999-01-01T00:00:00Z"):                             people(),
		"status=active&sort=-created_at" + before:                                              people(dan, bob, ada),
		"status=deactivated" + before:                                                          people(),
		"q=" + url.QueryEscape(dan.name) + "&status=active" + before:                           people(dan),
		"q=" + url.QueryEscape(dan.name) + "&status=invited" + before:                          people(),
		"role=viewer&sort=status,-created_at&updated_since=" + "2001-01-01T00:00:00Z" + before: people(ivy, dan),
	} {
		ada.wantListed(t, "/api/members", query, want...)
	}
	for _, query := range []string{"q=%3F!", "status=removed", "status=x", "role=not+a+role", "sort=email", "sort=role", "deleted=true"} {
		if a := ada.call(t, "GET", "/api/members?"+query, nil); a.status != 422 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	alone, _ := bob.newToken(t, grant(domain.ReadMember, domain.Own))
	alone.wantListed(t, "/api/members", "sort=created_at", people(bob)...)
	alone.wantListed(t, "/api/members", "q=people", people(bob)...)
	alone.wantListed(t, "/api/members", "q="+url.QueryEscape(dan.name))
	alone.wantListed(t, "/api/members", "sort=status"+before, people(bob)...)
}

// The list of roles has those of the workspace and the built-in ones, in one order.
func TestListOfRoles(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	named := func(name string) string {
		return decode[apiRole](t, ada.call(t, "POST", "/api/roles", object{"name": name, "grants": []domain.Grant{}}).want(t, 201)).ID
	}
	buyer, keeper := named("Buyer of paint"), named("keeper of paint")
	records := ada.log(t)
	before := "&" + asOf(records[len(records)-1].At)
	ada.call(t, "PATCH", "/api/roles/"+buyer, object{"name": "zeta"}).want(t, 200)
	builtIn := []string{"admin", "manager", "member", "viewer", "auditor", "analyst"}
	for query, want := range map[string][]string{
		"":                   append([]string{keeper, buyer}, builtIn...),
		"sort=name":          {"admin", "analyst", "auditor", keeper, "manager", "member", "viewer", buyer},
		"sort=created_at":    append([]string{buyer, keeper}, "analyst", "auditor", "viewer", "member", "manager", "admin"),
		"sort=-updated_at":   append(append([]string{}, builtIn...), buyer, keeper),
		"q=ma":               {"manager"},
		"q=PAINT":            {keeper},
		"q=paint" + before:   {keeper, buyer},
		"sort=name" + before: {"admin", "analyst", "auditor", buyer, keeper, "manager", "member", "viewer"},
	} {
		ada.wantListed(t, "/api/roles", query, want...)
	}
}

// A person who logs in often has many sessions.
func TestListOfSessions(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	for range 2 {
		ada.logIn(t, ada.password).want(t, 200)
	}
	all := ids(t, ada.call(t, "GET", "/api/sessions", nil))
	var got []string
	for _, s := range pages[session](t, ada, "/api/sessions", 1) {
		got = append(got, s.ID.String())
	}
	if diff := cmp.Diff(all, got); diff != "" || len(all) != 3 {
		t.Errorf("%d sessions: %s", len(all), diff)
	}
}

// badCursors are none of a list: also not those of a list of another kind.
func badCursors(t *testing.T, c *client, path string, lists []string) []string {
	t.Helper()
	bad := []string{"", "x", "!!!!", "MQ==", strings.Repeat("A", 1001), strings.Repeat("A", 5000), "MQ&cursor=MQ"}
	for _, text := range []string{`null`, `""`, `"x"`, `{}`, `[]`, `{"After":1}`, `1.5`, `"01A203BC-D9F7-74D3-B0DF-3DD66BEDFE41"`, ` 1`, `01`, `1e3`, `"1"`} {
		bad = append(bad, base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	for _, other := range lists {
		if (other == "/api/audit/events") != (path == "/api/audit/events") {
			bad = append(bad, *decode[list[any]](t, c.call(t, "GET", other+"?limit=1", nil).want(t, 200)).NextCursor)
		}
	}
	return bad
}
