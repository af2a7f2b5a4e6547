package promises

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// apiComment is a comment as a client reads it.
type apiComment struct {
	domain.Comment
	Mentions []struct {
		MemberID uuid.UUID `json:"member_id"`
		FullName *string   `json:"full_name"`
	}
}

func (c *client) comment(t tester, task domain.Task, body object) apiComment {
	t.Helper()
	return decode[apiComment](t, c.call(t, "POST", taskPath(task, "comments"), body).want(t, 201))
}

// Whom a comment mentions is an id in the event, of a member; what is shown is the name. An edit mentions anew, and keeps who has left.
func TestMentions(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	bob, eve := ada.member(t, "member"), newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t)
	at := func(id uuid.UUID) string { return "@" + id.String() }
	made := ada.comment(t, task, object{"body": at(bob.id) + ", " + strings.ToUpper(at(bob.id)) + " " + at(uuid.New()) + " " + at(eve.id) + " @Bob " + at(ada.id) + "."})
	wantMentions := func(c apiComment, want ...*client) {
		t.Helper()
		if len(c.Mentions) != len(want) {
			t.Fatalf("mentions %+v", c.Mentions)
		}
		for i, m := range c.Mentions {
			if m.MemberID != want[i].id || m.FullName == nil || *m.FullName != want[i].name || c.MentionIDs[i] != want[i].id {
				t.Errorf("mention %d: %+v", i, m)
			}
		}
	}
	wantMentions(made, bob, ada)
	path := "/api/comments/" + made.ID.String()
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	wantMentions(decode[apiComment](t, ada.call(t, "GET", path, nil).want(t, 200)), bob, ada)
	wantMentions(decode[apiComment](t, ada.call(t, "PATCH", path, object{"body": "again " + at(bob.id)}).want(t, 200)), bob)
	wantMentions(ada.comment(t, task, object{"body": "too late, " + at(bob.id)}))
	wantMentions(decode[apiComment](t, ada.call(t, "PATCH", path, object{"body": "nobody"}).want(t, 200)))
	wantMentions(pages[apiComment](t, ada, taskPath(task, "comments?sort=created_at"), 50)[0])
	ada.judge(t)
	ada.noDrift(t)
}

// An answer is to a comment on the same task that is there. When that one is deleted, the answer stays.
func TestAnswersToComments(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task, other := ada.newTask(t), ada.newTask(t)
	first := ada.comment(t, task, object{"body": "first"})
	answer := ada.comment(t, task, object{"body": "answer", "parent_id": first.ID})
	nested := ada.comment(t, task, object{"body": "nested", "parent_id": answer.ID})
	if first.ParentID != nil || *answer.ParentID != first.ID || *nested.ParentID != answer.ID {
		t.Errorf("%v, %v, %v", first.ParentID, answer.ParentID, nested.ParentID)
	}
	ada.call(t, "POST", taskPath(other, "comments"), object{"body": "x", "parent_id": first.ID}).refusedAs(t, "of another task", 422, "/parent_id")
	ada.call(t, "POST", taskPath(task, "comments"), object{"body": "x", "parent_id": uuid.New()}).refusedAs(t, "of nothing", 422, "/parent_id")
	ada.call(t, "DELETE", "/api/comments/"+first.ID.String(), nil).want(t, 204)
	ada.call(t, "GET", "/api/comments/"+first.ID.String(), nil).problem(t, 404, "comment_not_found")
	ada.call(t, "POST", taskPath(task, "comments"), object{"body": "x", "parent_id": first.ID}).refusedAs(t, "of what is deleted", 422, "/parent_id")
	var bodies []string
	for _, c := range pages[apiComment](t, ada, taskPath(task, "comments?sort=created_at"), 1) {
		bodies = append(bodies, c.Body)
	}
	if diff := cmp.Diff([]string{"answer", "nested"}, bodies); diff != "" {
		t.Error(diff)
	}
	ada.judge(t)
	ada.noDrift(t)
}
