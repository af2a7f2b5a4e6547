package promises

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "attachment",
	thing: func(t tester, x *tenant) uuid.UUID {
		at := "/api/tasks/" + x.one(t, "task").String() + "/attachments"
		return decode[domain.Attachment](t, x.call(t, "POST", at, object{"file": file{x.private(), x.private()}}).want(t, 201)).ID
	},
	bodies: map[string]func(x *tenant) object{
		"add-attachment": func(*tenant) object { return object{"file": file{"a.txt", uuid.NewString()}} },
	},
	rule: judgeAttachment,
	races: map[string]race{
		"a file for what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"POST", taskPath(task, "attachments"), object{"file": file{"late", "late"}}}
		},
		"the end of an attachment of what is deleted": func(t tester, x *tenant) (one, other request) {
			task := x.newTask(t)
			return request{"DELETE", taskPath(task), nil}, request{"DELETE", attachmentPath(x.attach(t, task, "a", "1")), nil}
		},
	},
})

// file is a value of an object that goes as a form.
type file struct{ Name, Bytes string }

// formOf makes a form of a body that has files in it.
func formOf(body any) (form io.Reader, contentType string, is bool) {
	o, _ := body.(object)
	var written bytes.Buffer
	w := multipart.NewWriter(&written)
	for field, value := range o {
		f, ok := value.(file)
		if !ok {
			continue
		}
		is = true
		_, _ = io.WriteString(must(w.CreateFormFile(field, f.Name)), f.Bytes) // memory does not fail
	}
	_ = w.Close()
	return &written, w.FormDataContentType(), is
}

func attachmentPath(a domain.Attachment, more ...string) string {
	path := "/api/attachments/" + a.ID.String()
	for _, part := range more {
		path += "/" + part
	}
	return path
}

// attach adds a file to a task.
func (c *client) attach(t tester, task domain.Task, name, content string) domain.Attachment {
	t.Helper()
	return decode[domain.Attachment](t, c.call(t, "POST", taskPath(task, "attachments"), object{"file": file{name, content}}).want(t, 201))
}

type judgedAttachment struct {
	by, task uuid.UUID
	size     int64
	gone     bool

	taken, freed bool // its bytes, see storage.go
}

func judgeAttachment(o *oracle, e fact) error {
	attachments := the[uuid.UUID, judgedAttachment](o)
	a := attachments[e.id]
	if added, ok := e.event.(domain.AttachmentAdded); ok {
		attachments[e.id] = &judgedAttachment{by: e.actor, task: added.TaskID, size: added.Size}
		return firstError(o.may(e.actor, domain.CreateAttachment, true), o.there(added.TaskID), when(a != nil, "it is there"),
			when(len(added.Digest) != 64 || added.Name == "", "it has no digest or no name"))
	}
	if a == nil || a.gone {
		return fmt.Errorf("there is no such attachment")
	}
	a.gone = true
	return firstError(o.may(e.actor, domain.DeleteAttachment, a.by == e.actor), o.there(a.task))
}
