package promises

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// told is a line of a story.
type told struct {
	At        time.Time
	Actor     *uuid.UUID
	ActorName *string `json:"actor_name"`
	Noun      string
	ID        uuid.UUID
	Version   int
	Type      string
	Field     *string
	Old, New  json.RawMessage
}

// String is the line as a test writes it.
func (l told) String() string {
	if l.Field == nil {
		return l.Type
	}
	if strings.HasSuffix(*l.Field, "_at") {
		return l.Type + " " + *l.Field
	}
	return fmt.Sprintf("%s %s %s > %s", l.Type, *l.Field, l.Old, l.New)
}

func (c *client) story(t tester, path string) []told {
	t.Helper()
	return pages[told](t, c, path+"/history", 200)
}

// types are the types of the events of a story, each once.
func types(story []told) (all []string) {
	for i, line := range story {
		if i == 0 || line.Version != story[i-1].Version || line.Type != story[i-1].Type || line.ID != story[i-1].ID {
			all = append(all, line.Type)
		}
	}
	return all
}

func asText(story []told) (all []string) {
	for _, line := range story {
		all = append(all, line.String())
	}
	return all
}

// The story of a task says who changed what, with names instead of ids, and tells of its comments and its time; also once the task, its
// tag, and whoever changed it are gone. A new thing's empty fields are no news.
func TestStoryOfATask(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "manager")
	web := ada.newProject(t, object{"key": "WEB", "name": "Website"})
	tag, other := ada.newTag(t, "urgent"), ada.newTask(t, object{"title": "Other"})
	task := bob.newTask(t, object{"title": "Paint", "project_id": web.ID, "assignee_ids": []uuid.UUID{bob.id}})
	ada.call(t, "PATCH", taskPath(task), object{"title": "Paint it", "due_on": "2026-12-31", "tag_ids": []uuid.UUID{tag.ID}}).want(t, 200)
	comment := decode[domain.Comment](t, bob.call(t, "POST", taskPath(task, "comments"), object{"body": "Two coats."}).want(t, 201))
	ada.call(t, "PUT", taskPath(task, "relations", "blocks", other.ID), nil).want(t, 204)
	bob.call(t, "PATCH", "/api/comments/"+comment.ID.String(), object{"body": "Three."}).want(t, 200)
	bob.call(t, "POST", "/api/time-entries", object{"task_id": task.ID, "start": "2026-03-02T09:00:00Z", "minutes": 30}).want(t, 201)
	bob.call(t, "DELETE", "/api/comments/"+comment.ID.String(), nil).want(t, 204)
	ada.call(t, "DELETE", tagPath(tag), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	story := ada.story(t, taskPath(task))
	name := string(must(json.Marshal(bob.name)))
	want := []string{
		`task.created title null > "Paint"`, `task.created status null > "open"`, `task.created priority null > "none"`,
		`task.created project_id null > "Website"`, `task.created assignee_ids null > [` + name + `]`, `task.numbered key null > "WEB-1"`,
		`task.updated title "Paint" > "Paint it"`, `task.updated due_on null > "2026-12-31"`, `task.tagged tag_ids [] > ["urgent"]`,
		`comment.created task_id null > "WEB-1"`, `comment.created body null > "Two coats."`,
		`task.related relations [] > [{"kind":"blocks","task_id":"Other"}]`,
		`comment.updated body "Two coats." > "Three."`,
	}
	got := asText(story)
	if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(strings.Fields("task.created task.numbered task.updated task.tagged comment.created task.related comment.updated time_entry.created comment.deleted task.deleted"), types(story)); diff != "" {
		t.Error(diff)
	}
	for _, line := range story {
		by := map[bool]*client{true: bob, false: ada}[line.Noun != "task" || line.Version == 1]
		if line.Actor == nil || *line.Actor != by.id || line.ActorName == nil || *line.ActorName != by.name {
			t.Errorf("%s by %v %v", line, line.Actor, line.ActorName)
		}
	}
	if diff := cmp.Diff([]string{"comment.created", "comment.updated", "comment.deleted"}, types(ada.story(t, "/api/comments/"+comment.ID.String()))); diff != "" {
		t.Error(diff)
	}
}

// wantNamesInStories fails the test for each story that calls a thing of the tenant by its id.
func (x *tenant) wantNamesInStories(t *testing.T) {
	t.Helper()
	for _, op := range sampled(t) {
		if op.method != "GET" || !strings.HasSuffix(op.path, "/history") {
			continue
		}
		for _, line := range x.story(t, strings.TrimSuffix(op.at(x.ids(t, op)), "/history")) {
			for noun, id := range x.things {
				if strings.Contains(line.String(), `"`+id.String()+`"`) {
					t.Errorf("%s calls a %s by its id: %s", op.id, noun, line)
				}
			}
		}
	}
}

// An own role is called by its name, and a comment that another one answers by how it begins; each for those who may see it.
func TestStoriesNameRolesAndComments(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	role := ada.newRole(t, domain.Grant{Resource: "task", Action: "read", Scope: domain.All}, domain.Grant{Resource: "member", Action: "read", Scope: domain.All})
	bob := ada.member(t, role.ID)
	task := ada.newTask(t)
	one := ada.comment(t, task, object{"body": "one"})
	answer := ada.comment(t, task, object{"body": "two", "parent_id": one.ID})
	title := ada.newTask(t, object{"title": role.ID}) // no reference, whatever it looks like
	ada.call(t, "PATCH", rolePath(role), object{"name": "Painter"}).want(t, 200)
	for path, want := range map[string]string{
		"/api/members/" + bob.id.String():     `member.invited role null > "Painter"`,
		"/api/comments/" + answer.ID.String(): `comment.created parent_id null > "one"`,
		taskPath(task):                        `comment.created parent_id null > "one"`,
		taskPath(title):                       `task.created title null > "` + role.ID + `"`,
	} {
		if got := asText(ada.story(t, path)); !slices.Contains(got, want) {
			t.Errorf("%s is not in %q", want, got)
		}
	}
	if got := asText(bob.story(t, "/api/members/"+bob.id.String())); strings.Contains(strings.Join(got, "\n"), "Painter") {
		t.Errorf("the role is called by its name for one who may not see roles: %q", got)
	}
}

// Somebody who was erased is told in words of the reader's language, where a story had the name: as the one who did it, and among others.
func TestStoriesOfTheErased(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob := ada.member(t, "manager")
	task := bob.newTask(t, object{"title": "Paint", "assignee_ids": []uuid.UUID{bob.id, ada.id}})
	ada.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200)
	for language, erased := range map[string]string{"en": "somebody who was erased", "fr": "une personne effacée", "nl": "een gewiste persoon"} {
		answer := ada.call(t, "GET", taskPath(task)+"/history", nil, "Accept-Language: "+language).want(t, 200)
		story := decode[list[told]](t, answer).Items
		if got := answer.header.Get("Content-Language"); got != language || strings.Contains(strings.Join(asText(story), ""), bob.id.String()) {
			t.Errorf("%s, answered in %s: %q", language, got, asText(story))
		}
		i := slices.IndexFunc(story, func(l told) bool { return l.Field != nil && *l.Field == "assignee_ids" })
		if i < 0 || !strings.Contains(string(story[i].New), erased) || !strings.Contains(string(story[i].New), ada.name) || story[i].ActorName == nil || *story[i].ActorName != erased {
			t.Errorf("%s: line %d of %q", language, i, asText(story))
		}
	}
}

// A story is read in pages of any size, each line once and in order, whichever of its things an event is of, and goes on with what happens
// meanwhile. A cursor fits no other story.
func TestStoryInPages(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t, object{"title": "Paint", "description": "x", "due_on": "2026-12-31", "project_id": ada.newProject(t).ID})
	one := ada.comment(t, task, object{"body": "one"})
	ada.call(t, "PATCH", taskPath(task), object{"title": "Paint it", "priority": "high", "estimate_minutes": 5}).want(t, 200)
	ada.comment(t, task, object{"body": "two"})
	ada.call(t, "PATCH", "/api/comments/"+one.ID.String(), object{"body": "three"}).want(t, 200)
	ada.call(t, "POST", "/api/time-entries", object{"task_id": task.ID, "start": "2026-03-02T09:00:00Z", "minutes": 30}).want(t, 201)
	for _, path := range []string{taskPath(task), "/api/comments/" + one.ID.String(), "/api/members/" + ada.id.String()} {
		whole := ada.story(t, path)
		for limit := 1; limit <= len(whole)+1; limit += 1 + limit/3 {
			if diff := cmp.Diff(whole, pages[told](t, ada, path+"/history", limit)); diff != "" {
				t.Errorf("%s, %d at a time: %s", path, limit, diff)
			}
		}
	}
	at := taskPath(task) + "/history"
	whole := ada.story(t, taskPath(task))
	first := decode[list[told]](t, ada.call(t, "GET", fmt.Sprintf("%s?limit=%d", at, len(whole)-1), nil).want(t, 200))
	ada.call(t, "PATCH", taskPath(task), object{"title": "Paint it twice"}).want(t, 200)
	rest := decode[list[told]](t, ada.call(t, "GET", at+"?cursor="+*first.NextCursor, nil).want(t, 200))
	if diff := cmp.Diff(append(asText(whole[len(whole)-1:]), `task.updated title "Paint it" > "Paint it twice"`), asText(rest.Items)); diff != "" || rest.NextCursor != nil {
		t.Errorf("the rest: %s", diff)
	}
	ada.call(t, "GET", "/api/comments/"+one.ID.String()+"/history?cursor="+*first.NextCursor, nil).problem(t, 422, "invalid_cursor")
}

// Nobody reads in a story what they may not see: neither what belongs to the thing, nor the names of others.
func TestStoriesShowNoMoreThanTheirReadersMaySee(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	vic := ada.member(t, "viewer")
	web, hidden := ada.newProject(t, object{"name": "secret project"}), ada.newTask(t, object{"title": "secret title"})
	task := ada.newTask(t, object{"project_id": web.ID})
	ada.call(t, "PUT", taskPath(task, "relations", "blocks", hidden.ID), nil).want(t, 204)
	ada.call(t, "POST", "/api/time-entries", object{"task_id": task.ID, "start": "2026-03-02T09:00:00Z", "minutes": 30}).want(t, 201)
	ada.call(t, "POST", taskPath(task, "comments"), object{"body": "for all who see the task"}).want(t, 201)
	ada.call(t, "PUT", taskPath(task, "viewers", vic.id), nil).want(t, 204)
	story := vic.story(t, taskPath(task))
	for _, line := range asText(story) {
		if strings.Contains(line, "secret") || strings.Contains(line, hidden.ID.String()) || strings.HasPrefix(line, "time_entry") {
			t.Errorf("a viewer reads %s", line)
		}
	}
	if !slices.Contains(types(story), "comment.created") {
		t.Error("the comment is not in the story")
	}
	script, _ := ada.member(t, "admin").newToken(t, domain.Grant{Resource: "task", Action: "read", Scope: domain.All}) // and no member
	if answer := script.call(t, "GET", taskPath(task, "history"), nil).want(t, 200); strings.Contains(string(answer.body), ada.name) || strings.Contains(string(answer.body), vic.name) {
		t.Errorf("a token that may read no member reads names: %s", answer.body)
	}

	// Of several relations a story tells of those to tasks that its reader may see, also once they are deleted.
	open := ada.newTask(t, object{"title": "open title"})
	ada.call(t, "PUT", taskPath(open, "viewers", vic.id), nil).want(t, 204)
	ada.call(t, "PUT", taskPath(task, "relations", "relates", open.ID), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(task, "relations", "blocks", hidden.ID), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(open), nil).want(t, 204)
	var related []string
	for _, line := range vic.story(t, taskPath(task)) {
		if strings.HasSuffix(line.Type, "related") {
			related = append(related, line.String())
		}
	}
	if diff := cmp.Diff([]string{"task.related", `task.related relations [] > [{"kind":"relates","task_id":"open title"}]`, "task.unrelated"}, related); diff != "" {
		t.Errorf("relations that a viewer reads: %s", diff)
	}
	if all := strings.Join(asText(ada.story(t, taskPath(task))), "\n"); !strings.Contains(all, "secret project") || !strings.Contains(all, "secret title") || !strings.Contains(all, "time_entry.created") {
		t.Errorf("an admin reads %s", all)
	}
}

// Every noun is shown as it was, by one mechanism; who may see it is decided on what it is now.
func TestThingsAsTheyWere(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t)
	for noun, made := range map[string]struct {
		path   string
		change object
	}{
		"project": {ada.newProject(t).path(), object{"name": "other"}},
		"comment": {"/api/comments/" + decode[domain.Comment](t, ada.call(t, "POST", taskPath(task, "comments"), object{"body": "one"}).want(t, 201)).ID.String(), object{"body": "other"}},
		"time_entry": {"/api/time-entries/" + decode[domain.TimeEntry](t, ada.call(t, "POST", "/api/time-entries",
			object{"start": "2026-03-02T09:00:00Z", "minutes": 30}).want(t, 201)).ID.String(), object{"activity": "other"}},
	} {
		first := ada.call(t, "GET", made.path, nil).want(t, 200)
		at := decode[struct {
			UpdatedAt time.Time `json:"updated_at"`
		}](t, first).UpdatedAt
		asOf := func(at time.Time) reply {
			return ada.call(t, "GET", made.path+"?as_of="+url.QueryEscape(at.Format(time.RFC3339Nano)), nil)
		}
		time.Sleep(2 * time.Millisecond) // times are those of the log
		ada.call(t, "PATCH", made.path, made.change).want(t, 200)
		ada.call(t, "DELETE", made.path, nil).want(t, 204)
		state := func(a reply) object { // without what is counted now
			o := decode[object](t, a)
			delete(o, "spent_minutes")
			delete(o, "spent_cents")
			return o
		}
		if was := asOf(at).want(t, 200); !cmp.Equal(state(was), state(first)) || was.header.Get("ETag") != first.header.Get("ETag") {
			t.Errorf("%s: %s, and it was %s", noun, was.body, first.body)
		}
		asOf(at.Add(-time.Millisecond)).problem(t, 404, noun+"_not_found")
		asOf(time.Now().Add(time.Hour)).problem(t, 404, noun+"_not_found")
	}
}
