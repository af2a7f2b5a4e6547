package promises

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// wantTags asks in every way for the tags of a task.
func (c *client) wantTags(t tester, task domain.Task, want ...domain.Tag) {
	t.Helper()
	ids := []uuid.UUID{}
	for _, tag := range want {
		ids = append(ids, tag.ID)
	}
	all := decode[list[domain.Task]](t, c.call(t, "GET", "/api/tasks", nil).want(t, 200)).Items
	got := map[string]domain.Task{
		"get":   decode[domain.Task](t, c.call(t, "GET", taskPath(task), nil).want(t, 200)),
		"patch": decode[domain.Task](t, c.call(t, "PATCH", taskPath(task), object{}).want(t, 200)),
	}
	for _, one := range all {
		if one.ID == task.ID {
			got["list"] = one
		}
	}
	for how, one := range got {
		if diff := cmp.Diff(ids, one.TagIDs); diff != "" {
			t.Errorf("%s: %s", how, diff)
		}
	}
	for _, tag := range want {
		found := decode[list[domain.Task]](t, c.call(t, "GET", "/api/tasks?tag_id="+tag.ID.String()+","+uuid.NewString(), nil).want(t, 200)).Items
		if len(found) == 0 || len(found) > len(all) {
			t.Errorf("the filter finds %d tasks with %s", len(found), tag.Name)
		}
	}
}

func TestLifeOfATag(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	w := &walk{ada, t, ada.head(t)}
	tag := decode[domain.Tag](t, w.step("POST", "/api/tags", object{"name": "  Très\u00a0 urgent ", "colour": "#1F6FEB"}, 201, 1))
	if tag.Name != "Très urgent" || *tag.Colour != "#1f6feb" || tag.CreatedBy != ada.id {
		t.Errorf("%+v", tag)
	}
	at := tagPath(tag)
	w.step("PATCH", at, object{}, 200, 0)
	w.step("PATCH", at, object{"name": "Très urgent", "colour": "#1f6feb"}, 200, 0)
	w.step("PATCH", at, object{"name": "TRÈS URGENT", "colour": nil}, 200, 2) // its own name in other letters is free
	task := decode[domain.Task](t, w.step("POST", "/api/tasks", object{"title": "x", "tag_ids": []uuid.UUID{tag.ID, tag.ID}}, 201, 1))
	ada.wantTags(t, task, tag)
	w.step("PUT", taskPath(task, "tags", tag.ID), nil, 204, 0)
	w.step("DELETE", taskPath(task, "tags", tag.ID), nil, 204, 1)
	w.step("DELETE", taskPath(task, "tags", tag.ID), nil, 204, 0)
	w.step("PUT", taskPath(task, "tags", tag.ID), nil, 204, 1)
	w.step("PATCH", taskPath(task), object{"tag_ids": []uuid.UUID{}}, 200, 1)
	w.step("PATCH", taskPath(task), object{"tag_ids": []uuid.UUID{tag.ID}, "title": "y"}, 200, 2)
	use := decode[projections.TagUse](t, ada.call(t, "GET", at, nil).want(t, 200))
	if listed := decode[list[projections.TagUse]](t, ada.call(t, "GET", "/api/tags", nil).want(t, 200)).Items; *use.TaskCount != 1 || !cmp.Equal(listed, []projections.TagUse{use}) {
		t.Errorf("%+v, listed %+v", use, listed)
	}
	w.step("DELETE", at, nil, 204, 1)
	ada.wantTags(t, task)
	for _, gone := range []request{{"GET", at, nil}, {"PATCH", at, object{"name": "x"}}, {"DELETE", at, nil}, {"POST", at + "/merge", object{"into": tag.ID}},
		{"PUT", taskPath(task, "tags", tag.ID), nil}, {"DELETE", taskPath(task, "tags", tag.ID), nil}} {
		gone.send(t, ada).problem(t, 404, "tag_not_found")
	}
	var story []string
	for _, line := range ada.story(t, at) {
		story = append(story, line.Type+" "+*line.Field)
	}
	if diff := cmp.Diff([]string{"tag.created name", "tag.created colour", "tag.renamed name", "tag.recoloured colour", "tag.deleted deleted_at"}, story); diff != "" {
		t.Error(diff)
	}
	ada.newTag(t, "très urgent") // the name is free again
	ada.judge(t)
	ada.noDrift(t)
}

func TestTagNamesAreUnique(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	for _, names := range [][]string{
		{"Straße", "STRASSE", "ｓｔｒａｓｓｅ", "stra\u00adße"}, // a soft hyphen
		{"Caf\u00e9", "cafe\u0301", " CAFÉ "},
		{"in  progress", "In\tProgress", "in\u00a0progress", "IN\u200b PROGRESS"},
		{"ΟΔΟΣ", "οδος", "οδοσ"},
		{"日本語", "日本語"},
	} {
		tag := ada.newTag(t, names[0])
		for _, name := range names[1:] {
			ada.call(t, "POST", "/api/tags", object{"name": name}).problem(t, 409, "tag_name_taken")
		}
		other := ada.newTag(t, uuid.NewString())
		ada.call(t, "PATCH", tagPath(other), object{"name": names[0]}).problem(t, 409, "tag_name_taken")
		ada.call(t, "PATCH", tagPath(tag), object{"name": names[len(names)-1]}).want(t, 200)
	}
	for _, name := range []string{"cafe", "日本"} { // accents make another word
		ada.newTag(t, name)
	}
}

func TestTagInput(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	task, tag, foreign := ada.newTask(t), ada.newTag(t, "one"), eve.newTag(t, "one")
	gone := ada.newTag(t, "gone")
	ada.call(t, "DELETE", tagPath(gone), nil).want(t, 204)
	for _, c := range []struct {
		request
		at string
	}{
		{request{"POST", "/api/tags", object{"name": " \u200b "}}, "/name"},
		{request{"POST", "/api/tags", object{"name": strings.Repeat("x", 101)}}, "/name"},
		{request{"POST", "/api/tags", object{"name": "x", "colour": "red"}}, "/colour"},
		{request{"PATCH", tagPath(tag), object{"colour": "#12345g"}}, "/colour"},
		{request{"POST", tagPath(tag, "merge"), object{"into": tag.ID}}, "/into"},
		{request{"POST", tagPath(tag, "merge"), object{"into": foreign.ID}}, "/into"},
		{request{"POST", tagPath(tag, "merge"), object{"into": gone.ID}}, "/into"},
		{request{"POST", "/api/tasks", object{"title": "x", "tag_ids": []uuid.UUID{tag.ID, uuid.New()}}}, "/tag_ids"},
		{request{"POST", "/api/tasks", object{"title": "x", "tag_ids": []uuid.UUID{gone.ID}}}, "/tag_ids"},
		{request{"PATCH", taskPath(task), object{"tag_ids": []uuid.UUID{foreign.ID}}}, "/tag_ids"},
		{request{"GET", "/api/tasks?tag_id=x", nil}, "/tag_id"},
		{request{"GET", "/api/tasks?tag_id=" + url.QueryEscape(strings.Repeat(","+uuid.NewString(), 500)[1:]), nil}, "/tag_id"},
	} {
		if got := c.send(t, ada).problem(t, 422, "invalid"); len(got.Errors) != 1 || got.Errors[0].Pointer != c.at {
			t.Errorf("%s %s %v: %+v", c.method, c.target, c.body, got.Errors)
		}
	}
	for _, r := range []request{
		{"POST", tagPath(foreign, "merge"), object{"into": tag.ID}}, {"GET", tagPath(foreign, "history"), nil},
		{"PUT", taskPath(task, "tags", foreign.ID), nil}, {"DELETE", taskPath(task, "tags", uuid.New()), nil},
	} {
		r.send(t, ada).problem(t, 404, "tag_not_found")
	}
	if none := decode[list[domain.Task]](t, ada.call(t, "GET", "/api/tasks?tag_id="+foreign.ID.String(), nil).want(t, 200)).Items; len(none) != 0 {
		t.Errorf("another workspace's tag finds %v", none)
	}
	ada.call(t, "PATCH", tagPath(tag), object{"name": "two"}, `If-Match: "99"`).problem(t, 412, "stale")
	ada.call(t, "PATCH", tagPath(tag), object{"name": "two"}, fmt.Sprintf(`If-Match: "%d"`, tag.Version)).want(t, 200)
}

// A tag that is merged gives its tasks to the other: in every answer, for filters and counts, through a chain of merges, and for
// what is taken off later. The past shows what was then.
func TestMergeTags(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	a, b, c := ada.newTag(t, "bug"), ada.newTag(t, "bugs"), ada.newTag(t, "defect")
	of := func(tags ...domain.Tag) domain.Task {
		ids := []uuid.UUID{}
		for _, tag := range tags {
			ids = append(ids, tag.ID)
		}
		return ada.newTask(t, object{"tag_ids": ids})
	}
	both, first, second := of(a, b), of(a), of(b)
	before := decode[domain.Task](t, ada.call(t, "GET", taskPath(both), nil).want(t, 200))
	key := "Idempotency-Key: merge"
	once := ada.call(t, "POST", tagPath(a, "merge"), object{"into": b.ID}, key).want(t, 204)
	if again := ada.call(t, "POST", tagPath(a, "merge"), object{"into": b.ID}, key); again.essence() != once.essence() {
		t.Errorf("answered %s and later %s", once.essence(), again.essence())
	}
	for _, task := range []domain.Task{both, first, second} {
		ada.wantTags(t, task, b)
	}
	ada.call(t, "PUT", taskPath(first, "tags", b.ID), nil).want(t, 204)
	if got := decode[domain.Task](t, ada.call(t, "GET", taskPath(first), nil).want(t, 200)); got.Version != 1 {
		t.Errorf("a tag that the task has through a merge was given again: version %d", got.Version)
	}
	merged := ada.call(t, "POST", tagPath(b, "merge"), object{"into": c.ID}).want(t, 204)
	for _, task := range []domain.Task{both, first, second} {
		ada.wantTags(t, task, c)
	}
	if use := decode[projections.TagUse](t, ada.call(t, "GET", tagPath(c), nil).want(t, 200)); *use.TaskCount != 3 {
		t.Errorf("%d tasks", use.TaskCount)
	}
	if n := len(ada.log(t)); int64(n) != merged.position(t) {
		t.Errorf("%d events, position %d", n, merged.position(t))
	}
	past := "?as_of=" + url.QueryEscape(before.CreatedAt.Format("2006-01-02T15:04:05.999999Z07:00"))
	if then := decode[domain.Task](t, ada.call(t, "GET", taskPath(both)+past, nil).want(t, 200)); !cmp.Equal(then.TagIDs, before.TagIDs) {
		t.Errorf("then it had %v, not %v", then.TagIDs, before.TagIDs)
	}
	ada.call(t, "DELETE", taskPath(both, "tags", c.ID), nil).want(t, 204) // off goes all that led to it
	ada.wantTags(t, both)
	ada.call(t, "PATCH", taskPath(first), object{"tag_ids": []uuid.UUID{}}).want(t, 200)
	ada.wantTags(t, first)
	ada.call(t, "DELETE", tagPath(c), nil).want(t, 204)
	ada.wantTags(t, second)
	ada.judge(t)
	ada.noDrift(t)
}

// Of 16 who want one name, in two processes, one has it; and no task has a tag that went at the same instant.
func TestTagRaces(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	for round := range 3 {
		name := fmt.Sprint("tag ", round)
		answers := make([]reply, 16)
		parallel(len(answers), func(i int) {
			answers[i] = ada.on(p[i%2]).call(t, "POST", "/api/tags", object{"name": []string{name, strings.ToUpper(name)}[i/2%2]})
		})
		made := 0
		for _, a := range answers {
			if a.status == 201 {
				made++
			} else {
				a.problem(t, 409, "tag_name_taken")
			}
		}
		if made != 1 {
			t.Errorf("%d tags have one name", made)
		}
		a, b := ada.newTag(t, uuid.NewString()), ada.newTag(t, uuid.NewString())
		parallel(4, func(i int) {
			switch i {
			case 0:
				ada.on(p[0]).call(t, "POST", tagPath(a, "merge"), object{"into": b.ID})
			case 1:
				ada.on(p[1]).call(t, "POST", tagPath(b, "merge"), object{"into": a.ID})
			case 2:
				ada.on(p[0]).call(t, "PUT", taskPath(task, "tags", a.ID), nil)
			case 3:
				ada.on(p[1]).call(t, "PATCH", taskPath(task), object{"tag_ids": []uuid.UUID{b.ID}})
			}
		})
	}
	ada.judge(t)
	ada.noDrift(t)
}

func TestWhoMayTag(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob, vic := ada.member(t, "member"), ada.member(t, "viewer")
	hers, his := ada.newTag(t, "hers"), bob.newTag(t, "his")
	task := ada.newTask(t, object{"tag_ids": []uuid.UUID{hers.ID}})
	bob.call(t, "PUT", taskPath(task, "tags", his.ID), nil).want(t, 204)
	bob.call(t, "PATCH", tagPath(his), object{"name": "mine"}).want(t, 200)
	for _, r := range []request{{"PATCH", tagPath(hers), object{"name": "x"}}, {"DELETE", tagPath(hers), nil}, {"POST", tagPath(hers, "merge"), object{"into": his.ID}}} {
		r.send(t, bob).problem(t, 403, "forbidden")
	}
	vic.call(t, "POST", "/api/tags", object{"name": "x"}).problem(t, 403, "forbidden")
	for _, use := range decode[list[projections.TagUse]](t, vic.call(t, "GET", "/api/tags", nil).want(t, 200)).Items {
		if *use.TaskCount != 0 {
			t.Errorf("a viewer of no task is told of %d", *use.TaskCount)
		}
	}
	bob.call(t, "POST", tagPath(his, "merge"), object{"into": hers.ID}).want(t, 204)
}
