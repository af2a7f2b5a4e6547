package promises

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "comment",
	thing: func(t tester, x *tenant) uuid.UUID {
		at := "/api/tasks/" + x.one(t, "task").String() + "/comments"
		return decode[domain.Comment](t, x.call(t, "POST", at, object{"body": x.private()}).want(t, 201)).ID
	},
	bodies: map[string]func(x *tenant) object{
		"create-comment": func(x *tenant) object {
			return object{"body": "ask @" + x.things["member"].String(), "parent_id": x.things["comment"]}
		},
		"update-comment": func(x *tenant) object { return object{"body": uuid.NewString() + " @" + x.things["member"].String()} },
	},
	rule: judgeComment,
	races: map[string]race{
		"a comment on what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"POST", taskPath(task, "comments"), object{"body": "late"}}
		},
		"an answer to what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			comment := decode[domain.Comment](t, x.call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).want(t, 201))
			return request{"DELETE", "/api/comments/" + comment.ID.String(), nil}, request{"POST", taskPath(task, "comments"), object{"body": "late", "parent_id": comment.ID}}
		},
		"an edit on what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			comment := decode[domain.Comment](t, x.call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).want(t, 201))
			return request{"DELETE", taskPath(task), nil}, request{"PATCH", "/api/comments/" + comment.ID.String(), object{"body": "late"}}
		},
	},
})

type judgedComment struct {
	by, task  uuid.UUID
	deleted   bool
	mentioned []uuid.UUID
}

func judgeComment(o *oracle, e fact) error {
	comments := the[uuid.UUID, judgedComment](o)
	c := comments[e.id]
	if created, ok := e.event.(domain.CommentCreated); ok {
		comments[e.id] = &judgedComment{by: e.actor, task: created.TaskID, mentioned: created.MentionIDs}
		var answers error
		if p := created.ParentID; p != nil {
			other := comments[*p]
			answers = when(other == nil || other.deleted || other.task != created.TaskID, "it answers no comment on the task")
		}
		return firstError(answers, o.mentioned(nil, created.Body, created.MentionIDs), o.may(e.actor, domain.CreateComment, true), o.there(created.TaskID), when(c != nil, "it is there"))
	}
	if c == nil || c.deleted {
		return fmt.Errorf("there is no such comment")
	}
	if edited, ok := e.event.(domain.CommentUpdated); ok {
		err := o.mentioned(c.mentioned, edited.Body, edited.MentionIDs)
		if c.mentioned = edited.MentionIDs; err != nil {
			return err
		}
	}
	p := domain.UpdateComment
	if _, deleting := e.event.(domain.CommentDeleted); deleting {
		c.deleted, p = true, domain.DeleteComment
	}
	if err := o.there(c.task); err != nil {
		return err
	}
	return o.may(e.actor, p, c.by == e.actor, the[uuid.UUID, judgedTask](o)[c.task].project)
}

// mentioned says whether those whom a comment mentions are in its text, and are members, or were mentioned before.
func (o *oracle) mentioned(before []uuid.UUID, body string, ids []uuid.UUID) error {
	for _, id := range ids {
		who := o.people[id]
		if member := who != nil && who.status != "removed"; !strings.Contains(body, "@"+id.String()) || !member && !slices.Contains(before, id) {
			return fmt.Errorf("it mentions %s", id)
		}
	}
	return nil
}
