package promises

import (
	"fmt"

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
		"create-comment": func(*tenant) object { return object{"body": "b"} },
		"update-comment": func(*tenant) object { return object{"body": uuid.NewString()} },
	},
	rule: judgeComment,
	races: map[string]race{
		"a comment on what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"POST", taskPath(task, "comments"), object{"body": "late"}}
		},
		"an edit on what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			comment := decode[domain.Comment](t, x.call(t, "POST", taskPath(task, "comments"), object{"body": "x"}).want(t, 201))
			return request{"DELETE", taskPath(task), nil}, request{"PATCH", "/api/comments/" + comment.ID.String(), object{"body": "late"}}
		},
	},
})

type judgedComment struct {
	by, task uuid.UUID
	deleted  bool
}

func judgeComment(o *oracle, e fact) error {
	comments := the[uuid.UUID, judgedComment](o)
	c := comments[e.id]
	if created, ok := e.event.(domain.CommentCreated); ok {
		comments[e.id] = &judgedComment{by: e.actor, task: created.TaskID}
		return first(o.may(e.actor, domain.CreateComment, true), o.there(created.TaskID), when(c != nil, "it is there"))
	}
	if c == nil || c.deleted {
		return fmt.Errorf("there is no such comment")
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
