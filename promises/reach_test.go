package promises

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
)

// reachable is a noun whose things may be in projects, as TestReach looks at it.
type reachable struct {
	all  func(l *land, t tester) map[uuid.UUID]seenThing // as the admin sees them
	get  string                                          // the path before the id of a thing
	more []string                                        // the paths behind the id that show the thing; none when nothing answers with one
	in   string                                          // what is behind the path of a task where its things are listed; empty when they have a list of their own
}

// seenThing is the state of a thing, the task and the project in which it is.
type seenThing struct {
	state         domain.WithParts
	task, project *uuid.UUID
	within        bool // of the task: seen only with it
}

var reachables = map[string]reachable{
	"project": {all: func(l *land, t tester) map[uuid.UUID]seenThing {
		return allOf(t, l, "/api/projects", func(p domain.Project) (uuid.UUID, seenThing) { return p.ID, seenThing{state: p, project: &p.ID} })
	}, get: "/api/projects/", more: []string{"", "/history"}},
	"task": {all: func(l *land, t tester) map[uuid.UUID]seenThing {
		return allOf(t, l, "/api/tasks", func(k domain.Task) (uuid.UUID, seenThing) {
			return k.ID, seenThing{state: k, task: &k.ID, project: k.ProjectID}
		})
	}, get: "/api/tasks/", more: []string{"", "/history"}},
	"time_entry": {all: func(l *land, t tester) map[uuid.UUID]seenThing {
		return allOf(t, l, "/api/time-entries", func(e domain.TimeEntry) (uuid.UUID, seenThing) {
			return e.ID, seenThing{state: e, project: e.ProjectID}
		})
	}, get: "/api/time-entries/", more: []string{"", "/history"}},
	"comment": {all: func(l *land, t tester) map[uuid.UUID]seenThing {
		return allIn(t, l, "/comments", func(c domain.Comment) (uuid.UUID, uuid.UUID, domain.WithParts) { return c.ID, c.TaskID, c })
	}, in: "/comments"},
	"attachment": {all: func(l *land, t tester) map[uuid.UUID]seenThing {
		return allIn(t, l, "/attachments", func(a domain.Attachment) (uuid.UUID, uuid.UUID, domain.WithParts) { return a.ID, a.TaskID, a })
	}, get: "/api/attachments/", more: []string{"", "/content", "/history"}, in: "/attachments"},
}

// allOf are the things of a list.
func allOf[T any](t tester, l *land, path string, of func(T) (uuid.UUID, seenThing)) map[uuid.UUID]seenThing {
	t.Helper()
	all := map[uuid.UUID]seenThing{}
	for _, row := range decode[list[T]](t, l.admin.call(t, "GET", path+"?limit=200", nil).want(t, 200)).Items {
		id, thing := of(row)
		all[id] = thing
	}
	return all
}

// allIn are the things of a list that each task has.
func allIn[T any](t tester, l *land, path string, of func(T) (id, task uuid.UUID, state domain.WithParts)) map[uuid.UUID]seenThing {
	t.Helper()
	all := map[uuid.UUID]seenThing{}
	for task := range l.things["task"] {
		for _, row := range decode[list[T]](t, l.admin.call(t, "GET", "/api/tasks/"+task.String()+path+"?limit=200", nil).want(t, 200)).Items {
			id, on, state := of(row)
			all[id] = seenThing{state: state, task: &on, project: l.things["task"][on].project, within: true}
		}
	}
	return all
}

// land is projects, tasks, what belongs to them, and a member with a role of random grants.
type land struct {
	admin, member *client
	role          apiRole
	grants        domain.Grants
	projects      []uuid.UUID
	tasks         []uuid.UUID
	words         map[string]uuid.UUID               // of comments, each with one of its own
	things        map[string]map[uuid.UUID]seenThing // as they are now, by the noun
}

func newLand(t *testing.T, p []*process) *land {
	t.Helper()
	l := &land{admin: p[0].signUp(t), words: map[string]uuid.UUID{}}
	l.role = l.admin.newRole(t, domain.GrantsOf("manager")...)
	l.member = l.admin.member(t, l.role.ID).on(p[len(p)-1])
	both := []*client{l.admin, l.member}
	for range 3 {
		l.projects = append(l.projects, l.admin.newProject(t).ID)
	}
	for i := range 8 {
		fields := object{}
		if i%4 < 3 {
			fields["project_id"] = l.projects[i%4]
		}
		task := both[i/4].newTask(t, fields)
		l.tasks = append(l.tasks, task.ID)
		word := "word" + strings.ReplaceAll(uuid.NewString(), "-", "x")
		made := both[i%2].call(t, "POST", taskPath(task, "comments"), object{"body": "a " + word}).want(t, 201)
		l.words[word] = decode[domain.Comment](t, made).ID
		both[(i+1)%2].attach(t, task, "a.txt", uuid.NewString())
		both[i%2].newTime(t, object{"task_id": task.ID})
	}
	return l
}

// change makes one random change of what the member reaches.
func (l *land) change(t *rapid.T) {
	t.Helper()
	at := "/api/tasks/" + rapid.SampledFrom(l.tasks).Draw(t, "task").String()
	method := rapid.SampledFrom([]string{"PUT", "DELETE"}).Draw(t, "method")
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0:
		l.admin.call(t, method, "/api/projects/"+rapid.SampledFrom(l.projects).Draw(t, "project").String()+"/members/"+l.member.id.String(), nil).want(t, 204)
	case 1:
		l.admin.call(t, method, at+rapid.SampledFrom([]string{"/assignees/", "/viewers/"}).Draw(t, "as")+l.member.id.String(), nil).want(t, 204)
	case 2:
		l.admin.call(t, "PATCH", at, object{"project_id": rapid.SampledFrom(l.projects).Draw(t, "project")}).want(t, 200)
	case 3:
		var lead any
		if rapid.Bool().Draw(t, "lead") {
			lead = l.member.id
		}
		l.admin.call(t, "PATCH", "/api/projects/"+rapid.SampledFrom(l.projects).Draw(t, "project").String(), object{"lead_id": lead}).want(t, 200)
	}
}

// grant gives the role random grants.
func (l *land) grant(t *rapid.T) {
	t.Helper()
	l.grants = domain.Grants{}
	for _, p := range domain.Permissions {
		if scope := rapid.SampledFrom(append([]domain.Scope{domain.None}, domain.Scopes[p.Resource]...)).Draw(t, p.String()); scope != domain.None {
			l.grants = append(l.grants, grant(p, scope))
		}
	}
	l.admin.call(t, "PATCH", "/api/roles/"+l.role.ID, object{"grants": l.grants}).want(t, 200)
	l.things = map[string]map[uuid.UUID]seenThing{}
	for _, noun := range []string{"project", "task", "comment", "attachment", "time_entry"} { // what belongs to tasks behind the tasks
		l.things[noun] = reachables[noun].all(l, t)
	}
}

// shows tells whether the rule of the domain shows the member a thing.
func (l *land) shows(noun string, thing seenThing) bool {
	ours := false
	if thing.project != nil {
		project := l.things["project"][*thing.project].state.(domain.Project)
		ours = slices.Contains(project.MemberIDs, l.member.id)
	}
	var within *domain.Thing
	if thing.within {
		on := domain.ThingTo(l.member.id, "task", l.things["task"][*thing.task].state, ours, nil)
		within = &on
	}
	return l.grants.Reaches("read", domain.ThingTo(l.member.id, noun, thing.state, ours, within))
}

// visible are the ids of what the rule shows, the newest first; of one task, or of all.
func (l *land) visible(noun string, task *uuid.UUID) (ids []string) {
	for id, thing := range l.things[noun] {
		if (task == nil || *thing.task == *task) && l.shows(noun, thing) {
			ids = append(ids, id.String())
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	return ids
}

// compare looks at one noun in every way that there is.
func (l *land) compare(t *rapid.T, noun string) {
	t.Helper()
	read, n := domain.Permission{Resource: noun, Action: "read"}, reachables[noun]
	listed := func(path string, want []string) {
		t.Helper()
		if !l.grants.Allow(read) {
			l.member.call(t, "GET", path, nil).problem(t, 403, "forbidden")
			return
		}
		page := decode[struct {
			list[struct{ ID string }]
			Total *int
		}](t, l.member.call(t, "GET", path+"?limit=200&total=true", nil).want(t, 200))
		var got []string
		for _, item := range page.Items {
			got = append(got, item.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" || *page.Total != len(want) {
			t.Fatalf("%s: %d in all: %s\n%+v", path, *page.Total, diff, l.grants)
		}
	}
	if n.in == "" {
		listed(map[string]string{"project": "/api/projects", "task": "/api/tasks", "time_entry": "/api/time-entries"}[noun], l.visible(noun, nil))
	}
	for id, task := range l.things["task"] {
		switch path := "/api/tasks/" + id.String() + n.in; {
		case n.in == "":
		case l.grants.Allow(read) && !l.shows("task", task):
			l.member.call(t, "GET", path, nil).problem(t, 404, "task_not_found")
		default:
			listed(path, l.visible(noun, &id))
		}
	}
	for id, thing := range l.things[noun] {
		want := map[bool]int{true: 200, false: 404}[l.shows(noun, thing)]
		if !l.grants.Allow(read) {
			want = 403
		}
		for _, more := range n.more {
			if a := l.member.call(t, "GET", n.get+id.String()+more, nil); a.status != want {
				t.Fatalf("%s: %d, not %d\n%+v", a.what, a.status, want, l.grants)
			}
		}
		said := l.admin.explain(t, l.member, noun, id)
		if v := said.of("read"); v.Allowed != (want == 200) {
			t.Fatalf("explained as %+v, and it is %d", v, want)
		}
	}
}

// others looks at what sums up, and at the log.
func (l *land) others(t *rapid.T) {
	t.Helper()
	minutes := 60 * len(l.visible("time_entry", nil))
	if totals := l.member.call(t, "GET", "/api/time-entries/totals", nil); l.grants.Allow(domain.ReadTimeEntry) {
		sum := 0
		for _, item := range decode[list[struct{ Minutes int }]](t, totals.want(t, 200)).Items {
			sum += item.Minutes
		}
		if sum != minutes {
			t.Fatalf("%d minutes, not %d: %+v", sum, minutes, l.grants)
		}
	} else {
		totals.problem(t, 403, "forbidden")
	}
	for word, comment := range l.words {
		if !l.grants.Allow(domain.ReadTask) {
			break
		}
		found := len(decode[list[any]](t, l.member.call(t, "GET", "/api/tasks?q="+word, nil).want(t, 200)).Items) > 0
		if shown := l.shows("comment", l.things["comment"][comment]); found != shown {
			t.Fatalf("the word of a comment finds its task: %v, %+v", found, l.grants)
		}
	}
	want := map[bool]int{true: 200, false: 403}[l.grants.Allow(domain.ReadAudit)]
	for _, path := range []string{"/api/audit/events", "/api/audit/replay", "/api/audit/checkpoint"} {
		if a := l.member.call(t, "GET", path, nil); a.status != want {
			t.Fatalf("%s: %d, not %d", a.what, a.status, want)
		}
	}
}

// With random grants, in random projects and with random parts in tasks: what a list has is what GET, history, totals and search show, is what the
// rule of the domain allows, and is how access is explained.
func TestReach(t *testing.T) {
	t.Parallel()
	for resource, scopes := range domain.Scopes {
		if _, there := reachables[resource]; !there && slices.Contains(scopes, domain.InProject) {
			t.Errorf("promises/reach_test.go does not say how %s is listed and got", resource)
		}
	}
	l := newLand(t, newProcesses(t, 2, false))
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			l.change(t)
		}
		l.grant(t)
		l.compare(t, rapid.SampledFrom([]string{"project", "task", "comment", "attachment", "time_entry"}).Draw(t, "noun"))
		l.others(t)
	})
	l.admin.judge(t)
	l.admin.noDrift(t)
}
