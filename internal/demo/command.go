package demo

import (
	"net/http"
	"strconv"
	"strings"
)

// task is a task of the file on the server. Its fields belong to the action on it that is under way: there is never
// more than one. Its children read the id once created is closed.
type task struct {
	id       string             // empty until the server has accepted it
	status   string             // as the server last acknowledged it
	count    int                // of comments that the server has acknowledged
	comments map[string]comment // those that a later line edits; nil for most

	created chan struct{} // closed when its task.create is done, well or not
	last    chan struct{} // closed when the last action so far is done; belongs to the loop that reads the file
}

type comment struct{ id, author, body string }

// job is one action and what it is about.
type job struct {
	action
	in           *workspace
	task, parent *task // parent is nil for most
}

// Why an action asks nothing of the server: what it is about was refused.
const (
	taskRefused    = "its task was refused"
	parentRefused  = "its parent was refused"
	commentRefused = "its comment was refused"
)

// command is what an action asks of the server, or why it asks nothing. The request's key makes that it is done once,
// however often it is sent.
func (j job) command() (r request, notSent string) {
	if j.Do != createTask && j.task.id == "" {
		return r, taskRefused
	}
	r = request{method: "POST", token: j.in.people[j.Actor].token, key: j.in.tag + "/line-" + strconv.Itoa(j.Line)}
	switch j.Do {
	case createTask:
		if j.parent != nil && j.parent.id == "" {
			return r, parentRefused
		}
		r.path, r.body = "/api/tasks", j.newTask()
	case setStatus:
		j.changeStatus(&r)
	case addComment:
		r.path, r.body = "/api/tasks/"+j.task.id+"/comments", map[string]string{"body": *j.Body}
	case editComment:
		c := j.task.comments[j.Comment]
		if c.id == "" {
			return r, commentRefused
		}
		if j.Body != nil {
			c.body = *j.Body
		}
		r.method, r.path, r.body = "PATCH", "/api/comments/"+c.id, map[string]string{"body": c.body}
	}
	return r, ""
}

// newTask is the body of POST /api/tasks.
func (j job) newTask() map[string]any {
	body := map[string]any{"title": j.Title, "priority": "none"}
	if j.Body != nil {
		body["description"] = *j.Body
	}
	if priority, known := priorityOf(j.Priority); known {
		body["priority"] = priority
	}
	if status, known := statusOf(j.Status); known {
		body["status"] = status
	}
	if j.Assignee != "" {
		body["assignee_ids"] = []string{j.in.people[j.Assignee].id}
	}
	if j.parent != nil {
		body["parent_id"] = j.parent.id
	}
	if j.Estimate != nil {
		body["estimate_minutes"] = *j.Estimate
	}
	return body
}

func (j job) changeStatus(r *request) {
	status, _ := statusOf(j.Status)
	r.path = "/api/tasks/" + j.task.id
	switch {
	case status == "done":
		r.path += "/complete"
	case status == "open" && (j.task.status == "done" || j.task.status == "cancelled"):
		r.path += "/reopen"
	default:
		r.method, r.body = "PATCH", map[string]string{"status": status}
	}
}

// statusOf says in our words what a tracker says in its own.
func statusOf(text string) (status string, known bool) {
	switch strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(strings.TrimSpace(text))) {
	case "open", "reopened", "new", "to do", "todo", "backlog":
		return "open", true
	case "in progress", "doing", "started", "in review", "review":
		return "in_progress", true
	case "done", "resolved", "closed", "complete", "completed", "fixed":
		return "done", true
	case "cancelled", "canceled", "won't do", "wontfix", "won't fix", "rejected", "duplicate":
		return "cancelled", true
	}
	return "", false
}

func priorityOf(text string) (priority string, known bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "critical", "urgent":
		return "urgent", true
	case "high", "medium", "low", "none":
		return strings.ToLower(strings.TrimSpace(text)), true
	}
	return "", false
}

// rightly says why the server had to refuse a command; "" when it had not.
func (j job) rightly(p *problem) string {
	if j.Do == editComment && p.Status == http.StatusForbidden && j.Actor != j.task.comments[j.Comment].author {
		return "a member edits only their own comments"
	}
	return ""
}
