package imports

import (
	"cmp"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strconv"
	"time"
)

// githubIssue is an issue as GitHub's REST API gives it (GET /repos/{owner}/{repo}/issues?state=all), or as
// `gh issue list --state all --json number,title,body,author,state,createdAt,closedAt,labels,assignees,milestone,comments` does.
type githubIssue struct {
	Number    int             `json:"number"`
	Title     string          `json:"title"`
	Body      *string         `json:"body"`
	State     string          `json:"state"`
	Reason    *string         `json:"state_reason"`
	User      *githubPerson   `json:"user"`
	Author    *githubPerson   `json:"author"`
	ClosedBy  *githubPerson   `json:"closed_by"`
	Created   time.Time       `json:"created_at"`
	CreatedAt time.Time       `json:"createdAt"`
	Closed    *time.Time      `json:"closed_at"`
	ClosedAt  *time.Time      `json:"closedAt"`
	Labels    []githubLabel   `json:"labels"`
	Assignees []githubPerson  `json:"assignees"`
	Comments  json.RawMessage `json:"comments"` // a number in the REST API, which has them elsewhere
	Milestone *struct {
		Title string `json:"title"`
		DueOn string `json:"due_on"`
	} `json:"milestone"`
	Repository  string          `json:"repository_url"`
	PullRequest json.RawMessage `json:"pull_request"`
}

type githubPerson struct {
	Login string `json:"login"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// githubLabel is the name of a label: the REST API has labels as objects or, of old, as texts.
type githubLabel string

func (l *githubLabel) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*string)(l)) == nil {
		return nil
	}
	var object struct{ Name string }
	err := json.Unmarshal(data, &object)
	*l = githubLabel(object.Name)
	return err
}

type githubComment struct {
	ID      json.RawMessage `json:"id"` // a number, or a text
	User    *githubPerson   `json:"user"`
	Author  *githubPerson   `json:"author"`
	Body    string          `json:"body"`
	Created time.Time       `json:"created_at"`
	At      time.Time       `json:"createdAt"`
}

func githubBy(people ...*githubPerson) Person {
	for _, p := range people {
		if p != nil && p.Login != "" {
			return Person{Code: p.Login, Name: cmp.Or(p.Name, p.Login), Email: p.Email}
		}
	}
	return Person{Code: "ghost", Name: "Ghost (GitHub does not say)"}
}

// github reads lists of issues, one or several one after the other. Pull requests are passed over.
func github(from io.Reader) iter.Seq2[Action, error] {
	return things(from, "issues", func(line int, data json.RawMessage) ([]Action, *Reject) {
		var issue githubIssue
		if err := json.Unmarshal(data, &issue); err != nil {
			return []Action{{Task: issue.id()}}, rejected(line, "this is no issue as GitHub exports one: %s", unmarshalling(err))
		}
		if issue.PullRequest != nil {
			return nil, nil
		}
		return issue.actions(line)
	})
}

// id is what the issue is called over there, or empty when it has no number.
func (i githubIssue) id() string {
	if i.Number <= 0 {
		return ""
	}
	return "#" + strconv.Itoa(i.Number)
}

func (i githubIssue) actions(line int) ([]Action, *Reject) {
	author := githubBy(i.User, i.Author)
	created := Action{Line: line, At: earliest(i.Created, i.CreatedAt), By: author, Do: CreateTask, Task: i.id(), Title: i.Title, Body: i.Body}
	var labels []string
	for _, label := range i.Labels {
		labels = append(labels, string(label))
	}
	if i.Milestone != nil {
		labels = append(labels, i.Milestone.Title)
		if len(i.Milestone.DueOn) >= len(time.DateOnly) {
			created.DueOn = i.Milestone.DueOn
		}
	}
	created.Tags = tags(labels...)
	for _, p := range i.Assignees {
		created.Assignees = append(created.Assignees, githubBy(&p))
	}
	var later []Action
	closed := i.Closed
	if closed == nil {
		closed = i.ClosedAt
	}
	if closed != nil && !closed.IsZero() {
		status := "done"
		if i.Reason != nil && *i.Reason == "not_planned" {
			status = "cancelled"
		}
		later = append(later, Action{Line: line, At: *closed, By: githubBy(i.ClosedBy, i.User, i.Author), Do: SetStatus, Task: created.Task, Status: status, ID: "closed"})
	}
	var comments []githubComment
	if json.Unmarshal(i.Comments, &comments) == nil {
		for _, c := range comments {
			id, err := strconv.Unquote(string(c.ID))
			if err != nil {
				id = string(c.ID)
			}
			later = append(later, Action{Line: line, At: earliest(c.Created, c.At), By: githubBy(c.User, c.Author), Do: AddComment, Task: created.Task, ID: id, Body: &c.Body})
		}
	}
	slices.SortStableFunc(later, func(a, b Action) int { return a.At.Compare(b.At) })
	return append([]Action{created}, later...), created.check()
}

// earliest is the one of two times that is given.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}
