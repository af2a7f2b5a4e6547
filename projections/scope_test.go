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
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TestScopesInSQL compares the predicate of each noun with the rule of package domain, for random people, grants, projects and things.
// A noun whose things may be in projects and that has none on the board fails.
func TestScopesInSQL(t *testing.T) {
	t.Parallel()
	b := newBoard(t, newProcess(t))
	for resource, has := range domain.Scopes {
		if slices.Contains(has, domain.InProject) && len(b.things(t, resource, b.people[0])) < 8 {
			t.Errorf("there is no %s on the board, or nothing lists them: see newBoard and scoped", resource)
		}
	}
	if t.Failed() {
		return // rapid panics in a test that has failed
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
		for resource, n := range scopedNouns() {
			n.compare(r, b, by, b.things(r, resource, by.Member))
		}
	})
}

// scoped is the part of a noun that this test uses.
type scoped interface {
	explained
	ids(t rapid.TB, b *board) []uuid.UUID
	compare(r *rapid.T, b *board, by Actor, things map[uuid.UUID]domain.Thing)
}

func scopedNouns() map[string]scoped {
	all := map[string]scoped{}
	for name, n := range explainedNouns() {
		all[name] = n.(scoped)
	}
	return all
}

// board is people with projects, tasks and comments in which they have parts or none.
type board struct {
	*process
	by     Actor
	people []uuid.UUID
}

func newBoard(t *testing.T, p *process) *board {
	t.Helper()
	b := &board{process: p, by: p.found(t)}
	w := b.by.Workspace
	for range 4 {
		b.people = append(b.people, uuid.Must(uuid.NewV7()))
	}
	var projects []uuid.UUID
	for i := range 8 { // each person is in half of the projects
		id := uuid.Must(uuid.NewV7())
		events := []domain.Event{domain.ProjectCreated{Key: "K", Status: domain.Active, LeadID: &b.people[(i+1)%4]}}
		for k, person := range b.people[:3] {
			if i>>k&1 == 1 {
				events = append(events, domain.ProjectMemberAdded{MemberID: person})
			}
		}
		p.append(t, w, b.people[i%4], domain.ProjectStream(id), 0, events...)
		projects = append(projects, id)
	}
	for i := range 24 {
		id := uuid.Must(uuid.NewV7())
		created := domain.TaskCreated{Status: "open", Priority: "none"}
		if i%9 < 8 {
			created.ProjectID = &projects[i%9]
		}
		events := []domain.Event{created}
		if i%5 == 0 {
			events = append(events, domain.TaskAssigned{MemberID: b.people[i%3]})
		}
		if i%7 == 0 {
			events = append(events, domain.TaskViewerAdded{MemberID: b.people[i%4]})
		}
		p.append(t, w, b.people[i/6], domain.TaskStream(id), 0, events...)
		p.append(t, w, b.people[i%4], domain.CommentStream(uuid.Must(uuid.NewV7())), 0, domain.CommentCreated{TaskID: id, Body: "x"})
		p.append(t, w, b.people[i%3], domain.AttachmentStream(uuid.Must(uuid.NewV7())), 0, domain.AttachmentAdded{TaskID: id, Name: "x"})
		worked := domain.TimeEntryCreated{Work: domain.Work{MemberID: b.people[i%3], TaskID: &id, ProjectID: created.ProjectID}}
		p.append(t, w, b.people[i%4], domain.TimeEntryStream(uuid.Must(uuid.NewV7())), 0, worked)
	}
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	return b
}

// things gives all things of a resource, with the parts of a member in them.
func (b *board) things(t rapid.TB, resource string, member uuid.UUID) map[uuid.UUID]domain.Thing {
	t.Helper()
	n, there := scopedNouns()[resource]
	if !there {
		return nil
	}
	all := map[uuid.UUID]domain.Thing{}
	for _, id := range n.ids(t, b) {
		thing, _, err := n.thing(context.Background(), b.Projections, b.by, member, id)
		if err != nil {
			t.Fatal(err)
		}
		all[id] = thing
	}
	return all
}

func (n *Noun[T]) ids(t rapid.TB, b *board) (ids []uuid.UUID) {
	t.Helper()
	if err := b.db.Read(context.Background(), b.by.Workspace, pg.Column(&ids, `select id from `+n.name)); err != nil {
		t.Fatal(err)
	}
	return ids
}

// compare reads all things of a noun as a member with random grants, and compares the access with the rule.
func (n *Noun[T]) compare(r *rapid.T, b *board, by Actor, things map[uuid.UUID]domain.Thing) {
	r.Helper()
	var visible []uuid.UUID
	for id, thing := range things {
		var rows []Row[T]
		if _, err := b.Read(context.Background(), by.Workspace, n.Load(&rows, by, id)); err != nil || len(rows) != 1 {
			r.Fatal(err, len(rows))
		}
		row, read := rows[0], by.Role.Grants.Reaches("read", thing)
		if read {
			visible = append(visible, id)
		}
		if row.Visible != read || row.Reach != thing.Parts.Reach() {
			r.Errorf("%s: visible %v and %+v, by the rule %v and %+v", n.name, row.Visible, row.Reach, read, thing.Parts.Reach())
		}
		for _, p := range domain.Permissions {
			if p.Resource != n.name || p.Action == "create" {
				continue
			}
			may := row.Visible && (p.Action == "read" || by.Scope(p).Reaches(row.Reach))
			if verdict := by.Role.Explain(p.Action, thing); may != by.Role.Grants.Reaches(p.Action, thing) || may != verdict.Allowed || may == strings.Contains(verdict.Why, " not") {
				r.Errorf("%s: %v, by the rule %+v", p, may, verdict)
			}
			n.wantGuards(r, by, p, row)
		}
	}
	slices.SortFunc(visible, func(a, b uuid.UUID) int { return strings.Compare(b.String(), a.String()) })
	var listed []uuid.UUID
	rows, _, err := n.List(context.Background(), b.Projections, by, Page{Limit: 200}, nil)
	for _, row := range rows {
		listed = append(listed, n.ID(row))
	}
	if diff := cmp.Diff(visible, listed); diff != "" || err != nil {
		r.Errorf("the list of every %s over %+v: %s, %v", n.name, by.Role.Grants, diff, err)
	}
}

// wantGuards checks that a decision over scope project guards the project.
func (n *Noun[T]) wantGuards(r *rapid.T, by Actor, p domain.Permission, row Row[T]) {
	r.Helper()
	guarded := slices.ContainsFunc(n.Guards(row, by, p), func(g eventstore.Guard) bool { return g.Stream == domain.ProjectStream(row.ProjectID) })
	byProject := slices.ContainsFunc(append(n.reads(), p), func(p domain.Permission) bool { return by.Scope(p) == domain.InProject })
	if row.ProjectID != uuid.Nil && guarded != byProject {
		r.Errorf("%s: the project is guarded: %v", p, guarded)
	}
}

var whole = regexp.MustCompile(`Seq Scan on (project|task|comment|time_entry)`)

// explain gives the query for the plan of a list.
func explain[T any](t *testing.T, into *[]string, n *Noun[T], by Actor, page Page, filter any) pg.Statement {
	t.Helper()
	q, err := n.query(by, page, filter)
	if err != nil {
		t.Fatal(err)
	}
	return pg.Column(into, "explain "+q.sql, q.args...)
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
		`insert into comment (id, task_id, body, mention_ids, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), id, 'x', '{}', created_by, now(), now(), 1, 1 from task`,
		`insert into time_entry (id, member_id, amount_cents, start, billable, project_id, task_id, activity, created_by, created_at, updated_at, version, position)
			select gen_random_uuid(), created_by, 0, now(), true, project_id, id, '', created_by, now(), now(), 1, 1 from task`,
		`analyze time_entry`, `analyze project`, `analyze task`, `analyze comment`,
	} {
		if _, err := conn.Exec(minute(t), sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	if err := conn.QueryRow(minute(t), `select id from person where n = 7`).Scan(&by.Member); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []domain.Scope{domain.Own, domain.InProject} {
		by.Role.Grants = domain.Grants{{Resource: "project", Action: "read", Scope: scope}, {Resource: "task", Action: "read", Scope: scope},
			{Resource: "time_entry", Action: "read", Scope: scope}}
		var plan []string
		if err := p.db.Read(minute(t), by.Workspace, pg.PlanEach(),
			explain(t, &plan, Projects, by, Page{Limit: 50}, nil), explain(t, &plan, Tasks, by, Page{Limit: 50}, nil),
			explain(t, &plan, TimeEntries, by, Page{Limit: 50}, nil),
		); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); whole.MatchString(text) || !strings.Contains(text, "member_ids") && scope == domain.InProject {
			t.Errorf("over %s:\n%s", scope, text)
		}
	}
}

func pick[T any](r *rapid.T, name string, from []T) T { return rapid.SampledFrom(from).Draw(r, name) }
