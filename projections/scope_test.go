package projections

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TestScopesInSQL compares the predicate of each noun with the rule of package domain, for random people, grants, projects and things.
// A resource that has the scope and is not in the test fails.
func TestScopesInSQL(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	b := newBoard(t, p)
	for resource, has := range domain.Scopes {
		if slices.Contains(has, domain.InProject) && b.things(uuid.Nil)[resource] == nil {
			t.Errorf("%s has the scope %s and is not in this test", resource, domain.InProject)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		by := b.by
		by.Member = pick(r, "member", b.people)
		by.Role.Grants = domain.Grants{}
		for _, permission := range domain.Permissions {
			if scope := pick(r, permission.String(), append([]domain.Scope{domain.None}, domain.Scopes[permission.Resource]...)); permission.Action != "create" {
				by.Role.Grants = append(by.Role.Grants, domain.Grant{Resource: permission.Resource, Action: permission.Action, Scope: scope})
			}
		}
		for resource, things := range b.things(by.Member) {
			b.compare(r, by, resource, things)
		}
	})
}

// board is people, and projects, tasks and comments with which they have, or have not, to do.
type board struct {
	*process
	by       Actor
	people   []uuid.UUID
	projects []uuid.UUID
	tasks    []uuid.UUID
	comments []uuid.UUID
}

func newBoard(t *testing.T, p *process) *board {
	t.Helper()
	b := &board{process: p, by: p.found(t)}
	w := b.by.Workspace
	for range 4 {
		b.people = append(b.people, uuid.Must(uuid.NewV7()))
	}
	for i := range 8 { // each person is in half of the projects
		id := uuid.Must(uuid.NewV7())
		events := []domain.Event{domain.ProjectCreated{Key: "K", Status: domain.Active, LeadID: &b.people[(i+1)%4]}}
		for k, person := range b.people[:3] {
			if i>>k&1 == 1 {
				events = append(events, domain.ProjectMemberAdded{MemberID: person})
			}
		}
		p.append(t, w, b.people[i%4], domain.ProjectStream(id), 0, events...)
		b.projects = append(b.projects, id)
	}
	for i := range 24 {
		id := uuid.Must(uuid.NewV7())
		created := domain.TaskCreated{Status: "open", Priority: "none"}
		if i%9 < 8 {
			created.ProjectID = &b.projects[i%9]
		}
		events := []domain.Event{created}
		if i%5 == 0 {
			events = append(events, domain.TaskAssigned{MemberID: b.people[i%3]})
		}
		if i%7 == 0 {
			events = append(events, domain.TaskViewerAdded{MemberID: b.people[i%4]})
		}
		p.append(t, w, b.people[i/6], domain.TaskStream(id), 0, events...)
		comment := uuid.Must(uuid.NewV7())
		p.append(t, w, b.people[i%4], domain.CommentStream(comment), 0, domain.CommentCreated{TaskID: id, Body: "x"})
		worked := domain.TimeEntryCreated{Work: domain.Work{MemberID: b.people[i%3], TaskID: &id, ProjectID: created.ProjectID}}
		p.append(t, w, b.people[i%4], domain.TimeEntryStream(uuid.Must(uuid.NewV7())), 0, worked)
		b.tasks, b.comments = append(b.tasks, id), append(b.comments, comment)
	}
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	return b
}

// things are all things of each resource, with what a member has to do with them.
func (b *board) things(member uuid.UUID) map[string]map[uuid.UUID]domain.Thing {
	all := map[string]map[uuid.UUID]domain.Thing{"project": {}, "task": {}, "comment": {}, "time_entry": {}}
	projects, tasks := map[uuid.UUID]*domain.Project{}, map[uuid.UUID]domain.Task{}
	for _, project := range stored(b, Projects) {
		projects[project.ID] = &project
		all["project"][project.ID] = project.To(member)
	}
	of := func(task domain.Task) *domain.Project {
		if task.ProjectID == nil {
			return nil
		}
		return projects[*task.ProjectID]
	}
	for _, task := range stored(b, Tasks) {
		tasks[task.ID] = task
		all["task"][task.ID] = task.To(member, of(task))
	}
	for _, comment := range stored(b, Comments) {
		task := tasks[comment.TaskID]
		all["comment"][comment.ID] = comment.To(member, task, of(task))
	}
	for _, entry := range stored(b, TimeEntries) {
		var project *domain.Project
		if entry.ProjectID != nil {
			project = projects[*entry.ProjectID]
		}
		all["time_entry"][entry.ID] = entry.To(member, project)
	}
	return all
}

// stored is every row of a noun.
func stored[T any](b *board, n *Noun[T]) (rows []T) {
	if err := b.db.Read(context.Background(), b.by.Workspace, pg.Rows(&rows, `select `+readable[T](n.name, n.columns, nil)+` from `+n.name)); err != nil {
		panic(err)
	}
	return rows
}

func (b *board) compare(r *rapid.T, by Actor, resource string, things map[uuid.UUID]domain.Thing) {
	r.Helper()
	var visible []uuid.UUID
	for id, thing := range things {
		var row decision
		switch resource {
		case "project":
			row = decide(r, b, by, Projects, domain.UpdateProject, id)
		case "task":
			row = decide(r, b, by, Tasks, domain.UpdateTask, id)
		case "comment":
			row = decide(r, b, by, Comments, domain.UpdateComment, id)
		case "time_entry":
			row = decide(r, b, by, TimeEntries, domain.UpdateTimeEntry, id)
		}
		if by.Role.Grants.Reaches("read", thing) {
			visible = append(visible, id)
		}
		if read := by.Role.Grants.Reaches("read", thing); row.visible != read || row.reach != thing.Relations.Reach() {
			r.Errorf("%s: visible %v and %+v, by the rule %v and %+v", resource, row.visible, row.reach, read, thing.Relations.Reach())
		}
		for _, action := range []string{"update", "delete"} {
			may := row.visible && by.Scope(domain.Permission{Resource: resource, Action: action}).Reaches(row.reach)
			if rule := by.Role.Grants.Reaches(action, thing); may != rule {
				r.Errorf("%s %s: %v, by the rule %v", action, resource, may, rule)
			}
		}
	}
	slices.SortFunc(visible, func(a, b uuid.UUID) int { return strings.Compare(b.String(), a.String()) })
	if diff := cmp.Diff(visible, b.list(r, by, resource)); diff != "" {
		r.Errorf("the list of every %s over %+v: %s", resource, by.Role.Grants, diff)
	}
}

// decision is what a command knows of a thing.
type decision struct {
	visible bool
	reach   domain.Reach
}

func decide[T any](r *rapid.T, b *board, by Actor, n *Noun[T], p domain.Permission, id uuid.UUID) decision {
	r.Helper()
	var rows []Row[T]
	if _, err := b.Look(context.Background(), by.Workspace, n.Load(&rows, by, id)); err != nil || len(rows) != 1 {
		r.Fatal(err, len(rows))
	}
	streams := map[string]bool{}
	for _, g := range n.Guards(rows[0], by, p) {
		streams[g.Stream] = true
	}
	byProject := slices.ContainsFunc(append(n.reads(), p), func(p domain.Permission) bool { return by.Scope(p) == domain.InProject })
	if in := rows[0].ProjectID; in != uuid.Nil && streams[domain.ProjectStream(in)] != byProject {
		r.Errorf("%s: a decision by what the project's members may guards %v", n.name, streams)
	}
	return decision{rows[0].Visible, rows[0].Reach}
}

// list is what the lists show, the newest first.
func (b *board) list(r *rapid.T, by Actor, resource string) (ids []uuid.UUID) {
	r.Helper()
	ctx, all := context.Background(), Page{Limit: 200}
	var err error
	switch resource {
	case "project":
		var rows []domain.Project
		rows, _, err = Projects.List(ctx, b.Projections, by, all, nil)
		ids = idsOf(Projects, rows)
	case "task":
		var rows []domain.Task
		rows, _, err = b.ListTasks(ctx, by, TaskFilter{}, all)
		ids = idsOf(Tasks, rows)
	case "time_entry":
		var rows []domain.TimeEntry
		rows, _, err = TimeEntries.List(ctx, b.Projections, by, all, nil)
		ids = idsOf(TimeEntries, rows)
	case "comment":
		for _, task := range b.tasks {
			var rows []domain.Comment
			if rows, _, err = Comments.List(ctx, b.Projections, by, all, CommentFilter{Task: &task}); err != nil {
				break
			}
			ids = append(ids, idsOf(Comments, rows)...)
		}
		slices.SortFunc(ids, func(a, b uuid.UUID) int { return strings.Compare(b.String(), a.String()) })
	}
	if err != nil {
		r.Fatal(err)
	}
	return ids
}

func idsOf[T any](n *Noun[T], rows []T) (ids []uuid.UUID) {
	for _, row := range rows {
		ids = append(ids, n.ID(row))
	}
	return ids
}

var whole = regexp.MustCompile(`Seq Scan on (project|task|comment)`)

// explain is the query for the plan of a list.
func explain[T any](t *testing.T, into *[]string, n *Noun[T], by Actor, page Page, filter any) pg.Statement {
	t.Helper()
	sql, _, args, err := n.query(by, page, filter)
	if err != nil {
		t.Fatal(err)
	}
	return pg.Column(into, "explain "+sql, args...)
}

// A list over a narrow scope reads no table in whole: each condition of the scope has an index.
func TestNarrowScopesUseIndexes(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	if _, err := p.CatchUp(minute(t), by.Workspace); err != nil {
		t.Fatal(err)
	}
	conn := p.superuser(t)
	for _, sql := range []string{
		`set search_path to ` + by.Workspace.Schema(),
		`create temp table person as select n, gen_random_uuid() as id from generate_series(0, 499) as n`,
		`insert into project (id, key, name, description, status, member_ids, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), 'K', 'x', '', 'active', array(select id from person where person.n % 100 = g % 100), (select id from person where n = g % 500), now(), now(), 1, 1
			from generate_series(1, 4000) as g`,
		`insert into task (id, title, description, status, priority, assignee_ids, viewer_ids, tag_ids, relations, rank, project_id, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), 'x', '', 'open', 'none', '{}', '{}', '{}', '[]', 'V', its.id, its.created_by, now(), now(), 1, 1
			from project as its cross join generate_series(1, 10)`,
		`insert into comment (id, task_id, body, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), id, 'x', created_by, now(), now(), 1, 1 from task`,
		`analyze project`, `analyze task`, `analyze comment`,
	} {
		if _, err := conn.Exec(minute(t), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	if err := conn.QueryRow(minute(t), `select id from person where n = 7`).Scan(&by.Member); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []domain.Scope{domain.Own, domain.InProject} {
		by.Role.Grants = domain.Grants{{Resource: "project", Action: "read", Scope: scope}, {Resource: "task", Action: "read", Scope: scope}}
		var plan []string
		if err := p.db.Read(minute(t), by.Workspace, pg.PlanEach(),
			explain(t, &plan, Projects, by, Page{Limit: 50}, nil), explain(t, &plan, Tasks, by, Page{Limit: 50}, nil),
		); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); whole.MatchString(text) || !strings.Contains(text, "member_ids") && scope == domain.InProject {
			t.Errorf("over %s:\n%s", scope, text)
		}
	}
}

func pick[T any](r *rapid.T, name string, from []T) T { return rapid.SampledFrom(from).Draw(r, name) }
