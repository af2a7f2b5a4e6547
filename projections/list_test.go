package projections

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/words"
)

// shelf is tasks with comments, and the states that Apply alone makes of them. Lists must be equal to what plain Go chooses and sorts.
type shelf struct {
	*process
	admin    Actor
	people   []uuid.UUID
	projects []domain.Project
	tasks    []domain.Task
	comments []domain.Comment
	numbered map[uuid.UUID]int // tasks of each project
}

var vocabulary = []string{"paint", "painter", "Door", "porte", "fenêtre", "Fenetre", "STRASSE", "straße", "東京都", "京都", "x", "v2", "naïve"}

func text(random *rapid.T, most int) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, most).Draw(random, "words"), rapid.SampledFrom([]string{" ", ", ", "-"}).Draw(random, "between"))
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{process: newProcess(t), numbered: map[uuid.UUID]int{}}
	s.admin = s.process.found(t)
	s.people = []uuid.UUID{s.admin.Member, uuid.New(), uuid.New()}
	for i := range 3 {
		id := uuid.Must(uuid.NewV7())
		s.append(t, s.admin.Workspace, s.people[0], domain.ProjectStream(id), 0,
			domain.ProjectCreated{Key: "AAA"[:i+1], Name: "p", Status: "active"}, domain.ProjectMemberAdded{MemberID: s.people[i]})
		s.append(t, s.admin.Workspace, s.people[0], domain.KeyStream("AAA"[:i+1]), 0, domain.TakeKey(id)...)
	}
	s.look(t)
	return s
}

// look folds the log.
func (s *shelf) look(t rapid.TB) {
	t.Helper()
	states, err := Folded(s.log(t, s.admin.Workspace))
	if err == nil {
		err = json.Unmarshal(states["task"], &s.tasks)
	}
	if err == nil {
		err = json.Unmarshal(states["comment"], &s.comments)
	}
	if err == nil {
		err = json.Unmarshal(states["project"], &s.projects)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func idsOf[T any](n *Noun[T], rows []T) (ids []uuid.UUID) {
	for _, row := range rows {
		ids = append(ids, n.ID(row))
	}
	return ids
}

func maybe[T any](t *rapid.T, from []T) *T {
	if rapid.Bool().Draw(t, "nothing") {
		return nil
	}
	v := rapid.SampledFrom(from).Draw(t, "something")
	return &v
}

var someDays = []domain.Date{"2026-01-01", "2026-01-02", "2026-03-29", "9999-12-31"}

// add makes a task with comments.
func (s *shelf) add(t *testing.T, r *rapid.T) {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	var project, parent *uuid.UUID
	if p := maybe(r, s.projects); p != nil {
		project = &p.ID
	}
	if len(s.tasks) > 0 {
		if p := maybe(r, s.tasks); p != nil {
			parent = &p.ID
		}
	}
	events := []domain.Event{domain.TaskCreated{Title: text(r, 3), Description: text(r, 6), Status: rapid.SampledFrom(domain.TaskStatuses).Draw(r, "status"),
		Priority: rapid.SampledFrom(domain.TaskPriorities).Draw(r, "priority"), DueOn: maybe(r, someDays), StartOn: maybe(r, someDays), ProjectID: project, ParentID: parent,
		AssigneeIDs: rapid.SliceOfDistinct(rapid.SampledFrom(s.people), rapid.ID[uuid.UUID]).Draw(r, "assignees")}}
	if viewer := maybe(r, s.people); viewer != nil {
		events = append(events, domain.TaskViewerAdded{MemberID: *viewer})
	}
	if maybe(r, []int{1, 2}) != nil {
		title := text(r, 2)
		events = append(events, domain.TaskUpdated{Title: &title})
	}
	if rapid.IntRange(0, 4).Draw(r, "deleted") == 0 {
		events = append(events, domain.TaskDeleted{})
	}
	by := rapid.SampledFrom(s.people).Draw(r, "creator")
	s.append(t, s.admin.Workspace, by, domain.TaskStream(id), 0, events...)
	if project != nil {
		i := slices.IndexFunc(s.projects, func(p domain.Project) bool { return p.ID == *project })
		s.numbered[*project]++
		s.append(t, s.admin.Workspace, by, domain.KeyStream(s.projects[i].Key), s.numbered[*project], domain.NumberTask(id)...)
	}
	for range rapid.IntRange(0, 2).Draw(r, "comments") {
		comment := []domain.Event{domain.CommentCreated{TaskID: id, Body: text(r, 2)}}
		if rapid.IntRange(0, 3).Draw(r, "gone") == 0 {
			comment = append(comment, domain.CommentDeleted{})
		}
		s.append(t, s.admin.Workspace, rapid.SampledFrom(s.people).Draw(r, "commenter"), domain.CommentStream(uuid.Must(uuid.NewV7())), 0, comment...)
	}
}

// reaches tells whether a scope over tasks, or over things on tasks, reaches one with these creators.
func (s *shelf) reaches(scope domain.Scope, me uuid.UUID, task domain.Task, creators ...uuid.UUID) bool {
	own := slices.Contains(append(creators, task.CreatedBy), me) || slices.Contains(task.AssigneeIDs, me) || slices.Contains(task.ViewerIDs, me)
	in := slices.ContainsFunc(s.projects, func(p domain.Project) bool {
		return task.ProjectID != nil && p.ID == *task.ProjectID && slices.Contains(p.MemberIDs, me)
	})
	return scope == domain.All || own && scope != domain.None || in && scope == domain.InProject
}

// chosen tells whether a list has a task.
func (s *shelf) chosen(by Actor, f TaskFilter, page Page, task domain.Task) bool {
	due := func(holds func(domain.Date) bool) bool { return task.DueOn != nil && holds(*task.DueOn) }
	one := func(ids IDs, has ...uuid.UUID) bool {
		return ids.Any == nil && !ids.None || ids.None && len(has) == 0 || slices.ContainsFunc(has, func(id uuid.UUID) bool { return slices.Contains(ids.Any, id) })
	}
	given := func(id *uuid.UUID) []uuid.UUID {
		if id == nil {
			return nil
		}
		return []uuid.UUID{*id}
	}
	return s.reaches(by.Scope(domain.ReadTask), by.Member, task) && (task.DeletedAt != nil) == page.Deleted &&
		(f.Status == nil || slices.Contains(f.Status, task.Status)) && (f.Priority == nil || slices.Contains(f.Priority, task.Priority)) &&
		one(f.Assignee, task.AssigneeIDs...) && one(f.Viewer, task.ViewerIDs...) && one(f.Project, given(task.ProjectID)...) && one(f.Parent, given(task.ParentID)...) &&
		(f.Creator == nil || slices.Contains(f.Creator, task.CreatedBy)) &&
		(f.DueBefore == nil || due(func(d domain.Date) bool { return d < *f.DueBefore })) && (f.DueAfter == nil || due(func(d domain.Date) bool { return d > *f.DueAfter })) &&
		(f.DueLast == nil || due(func(d domain.Date) bool { return d <= *f.DueLast })) && (f.DueFirst == nil || due(func(d domain.Date) bool { return d >= *f.DueFirst })) &&
		(!f.NoDue || task.DueOn == nil) && (!f.Undone || task.Status != "done" && task.Status != "cancelled") &&
		(f.Since == nil || !task.UpdatedAt.Before(*f.Since)) && (page.Text == "" || s.hasWords(by, page.Text, task))
}

// hasWords tells whether a text of a task that the actor may see has all words.
func (s *shelf) hasWords(by Actor, query string, task domain.Task) bool {
	texts := []string{task.Title + " " + task.Description}
	for _, c := range s.comments {
		if c.TaskID == task.ID && c.DeletedAt == nil && s.reaches(by.Scope(domain.ReadComment), by.Member, task, c.CreatedBy) {
			texts = append(texts, c.Body)
		}
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		has := words.Of(text)
		for _, word := range words.Of(query) {
			if !slices.ContainsFunc(has, func(h string) bool { return h == word || len(word) > 1 && strings.HasPrefix(h, word) }) {
				return false
			}
		}
		return true
	})
}

// inOrder compares two tasks as a list that is sorted so does.
func inOrder(sort []string, a, b domain.Task) int {
	last := func(d *domain.Date) string {
		if d == nil {
			return "infinity"
		}
		return string(*d)
	}
	down := len(sort) == 0
	for _, s := range sort {
		field, is := strings.CutPrefix(s, "-")
		down = is
		c := map[string]int{"created_at": a.CreatedAt.Compare(b.CreatedAt), "updated_at": a.UpdatedAt.Compare(b.UpdatedAt),
			"due_on": cmp.Compare(last(a.DueOn), last(b.DueOn)), "start_on": cmp.Compare(last(a.StartOn), last(b.StartOn)),
			"rank": strings.Compare(a.Rank, b.Rank), "key": strings.Compare(padded(a.Key), padded(b.Key)),
			"status":   cmp.Compare(slices.Index(domain.TaskStatuses, a.Status), slices.Index(domain.TaskStatuses, b.Status)),
			"priority": cmp.Compare(slices.Index(domain.TaskPriorities, a.Priority), slices.Index(domain.TaskPriorities, b.Priority))}[field]
		if down {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	if c := strings.Compare(a.ID.String(), b.ID.String()); !down {
		return c
	}
	return strings.Compare(b.ID.String(), a.ID.String())
}

// padded gives a key in a form that sorts by its bytes.
func padded(key *string) string {
	if key == nil {
		return "~"
	}
	project, number, _ := strings.Cut(*key, "-")
	return project + fmt.Sprintf("%09s", number)
}

func (s *shelf) filter(r *rapid.T) (f TaskFilter) {
	some := func(ids []uuid.UUID) IDs {
		return IDs{Any: rapid.SliceOfN(rapid.SampledFrom(append(ids, uuid.New())), 1, 3).Draw(r, "ids"), None: rapid.Bool().Draw(r, "none")}
	}
	for range rapid.IntRange(0, 2).Draw(r, "filters") {
		switch rapid.IntRange(0, 13).Draw(r, "filter") {
		case 0:
			f.Status = rapid.SliceOfN(rapid.SampledFrom(domain.TaskStatuses), 1, 4).Draw(r, "statuses")
		case 1:
			f.Priority = rapid.SliceOfN(rapid.SampledFrom(domain.TaskPriorities), 1, 5).Draw(r, "priorities")
		case 2:
			f.Assignee = some(s.people)
		case 3:
			f.Viewer = some(s.people)
		case 4:
			f.Project = some(idsOf(Projects, s.projects))
		case 5:
			f.Parent = some(idsOf(Tasks, s.tasks))
		case 6:
			f.Creator = rapid.SliceOfN(rapid.SampledFrom(s.people), 1, 2).Draw(r, "creators")
		case 7:
			f.DueBefore = maybe(r, someDays)
		case 8:
			f.DueAfter = maybe(r, someDays)
		case 9:
			f.DueFirst, f.DueLast = maybe(r, someDays), maybe(r, someDays)
		case 10:
			f.NoDue = true
		case 11:
			f.Undone = true
		case 12:
			at := rapid.SampledFrom(s.tasks).Draw(r, "since").UpdatedAt
			f.Since = &at
		case 13:
			f.Parent, f.Assignee = IDs{None: true}, IDs{None: true}
		}
	}
	return f
}

// For any filters, words, scope, order and page size, a list has the things that plain Go chooses from the states of Apply, in the right order,
// each once, and the total is their number.
func TestListsAreWhatGoChooses(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	rapid.Check(t, func(r *rapid.T) {
		if len(s.tasks) < 60 {
			for range 6 {
				s.add(t, r)
			}
			s.look(t)
		}
		by := Actor{Workspace: s.admin.Workspace, Member: rapid.SampledFrom(s.people).Draw(r, "who"), Roster: 1}
		scopes := []domain.Scope{domain.All, domain.Own, domain.InProject}
		by.Role.Grants = domain.Grants{{Resource: "task", Action: "read", Scope: rapid.SampledFrom(scopes).Draw(r, "scope")},
			{Resource: "comment", Action: "read", Scope: rapid.SampledFrom(append(scopes, domain.None)).Draw(r, "of comments")}}
		f, total := s.filter(r), 0
		page := Page{Limit: rapid.IntRange(1, 30).Draw(r, "limit"), Total: &total, Deleted: rapid.IntRange(0, 4).Draw(r, "trash") == 0,
			Sort: rapid.SliceOfNDistinct(rapid.SampledFrom(Tasks.SortedBy()), 0, 2, rapid.ID[string]).Draw(r, "sort")}
		for i := range page.Sort {
			page.Sort[i] = rapid.SampledFrom([]string{"", "-"}).Draw(r, "direction") + page.Sort[i]
		}
		if rapid.IntRange(0, 2).Draw(r, "searched") == 0 {
			page.Text = rapid.SampledFrom([]string{"pai", "paint door", "FENÊ", "strass", "東京", "東", "京都", "x", "v", "naive porte"}).Draw(r, "query")
		}
		want := slices.DeleteFunc(slices.Clone(s.tasks), func(task domain.Task) bool { return !s.chosen(by, f, page, task) })
		slices.SortFunc(want, func(a, b domain.Task) int { return inOrder(page.Sort, a, b) })
		got := s.pages(r, by, f, page, func() {})
		if !slices.Equal(idsOf(Tasks, got), idsOf(Tasks, want)) || total != len(want) {
			r.Fatalf("%+v %+v: %d of %d, want %d:\n%v\n%v", f, page, len(got), total, len(want), briefly(got), briefly(want))
		}
	})
}

func briefly(tasks []domain.Task) (all []string) {
	for _, task := range tasks {
		all = append(all, fmt.Sprintf("%s %s %v", task.ID, task.Title, task.DueOn))
	}
	return all
}

// pages reads a whole list page by page, as a client does, each time behind the place of the last row.
func (s *shelf) pages(r rapid.TB, by Actor, f TaskFilter, page Page, between func()) (all []domain.Task) {
	r.Helper()
	for {
		rows, mark, err := s.ListTasks(context.Background(), by, f, page)
		if err != nil || mark.Behind() != 0 {
			r.Fatal(err, mark)
		}
		all = append(all, rows[:min(len(rows), page.Limit)]...)
		if len(rows) <= page.Limit {
			return all
		}
		place, err := json.Marshal(Tasks.After(rows[page.Limit-1], page.Sort))
		if err == nil {
			page.After = new(After)
			err = json.Unmarshal(place, page.After)
		}
		if err != nil {
			r.Fatal(err)
		}
		between()
	}
}

// A client that pages through a list while others write gets each unchanged thing once and in order, and no thing twice that keeps its place.
func TestPagesStandStillUnderWrites(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	by := s.admin
	for i := range 30 {
		id := uuid.Must(uuid.NewV7())
		s.append(t, by.Workspace, by.Member, domain.TaskStream(id), 0, domain.TaskCreated{Title: "x", Status: "open", Priority: "none", DueOn: &someDays[i%3]})
	}
	s.look(t)
	moved := map[uuid.UUID]bool{}
	turn := 0
	got := s.pages(t, by, TaskFilter{}, Page{Limit: 4, Sort: []string{"-due_on", "priority"}}, func() {
		task := s.tasks[turn*7%len(s.tasks)]
		if turn++; !moved[task.ID] {
			moved[task.ID] = true
			s.append(t, by.Workspace, by.Member, domain.TaskStream(task.ID), 1, domain.TaskUpdated{DueOn: domain.To(someDays[turn%3])})
		}
		s.task(t, by, "new")
	})
	var still []uuid.UUID
	for _, task := range got {
		if task.Title == "x" && !moved[task.ID] {
			still = append(still, task.ID)
		}
	}
	want := slices.DeleteFunc(slices.Clone(s.tasks), func(task domain.Task) bool { return moved[task.ID] })
	slices.SortFunc(want, func(a, b domain.Task) int { return inOrder([]string{"-due_on", "priority"}, a, b) })
	if !slices.Equal(still, idsOf(Tasks, want)) || len(moved) < 3 {
		t.Errorf("%d moved; got %v, want %v", len(moved), still, idsOf(Tasks, want))
	}
}

// A place of another list is refused before Postgres is asked.
func TestPlacesOfOtherLists(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.task(t, s.admin, "x")
	for _, values := range [][]string{{}, {`"2026-01-01"`, `1`}, {`"x"`}, {`7`}, {`"2026-02-30"`}, {`"0000-01-01"`}, {`{}`}} {
		after := After{ID: uuid.New()}
		for _, v := range values {
			after.Values = append(after.Values, json.RawMessage(v))
		}
		_, _, err := s.ListTasks(minute(t), s.admin, TaskFilter{}, Page{Limit: 9, Sort: []string{"due_on"}, After: &after})
		if refusal, is := domain.Refusal(err); !is || refusal.Code != "invalid_cursor" {
			t.Errorf("%v: %v", values, err)
		}
	}
	for _, sort := range [][]string{{"title"}, {"due_on", "-due_on"}, {"id"}, {""}, {"due_on", "status", "priority"}, {"--due_on"}} {
		if _, _, err := s.ListTasks(minute(t), s.admin, TaskFilter{}, Page{Limit: 9, Sort: sort}); err == nil {
			t.Errorf("sorted by %v", sort)
		}
	}
	if _, _, err := s.ListTasks(minute(t), s.admin, TaskFilter{}, Page{Limit: 9, Text: "!?"}); err == nil {
		t.Error("a search without a word is accepted")
	}
}
