package imports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// jiraIssue is an issue as Jira's REST API gives it (GET /rest/api/2/search, with expand=changelog for what became of its status). Of rich
// texts (version 3 of the API) the words are taken.
type jiraIssue struct {
	Key    string `json:"key"`
	Fields struct {
		Summary     string       `json:"summary"`
		Description jiraText     `json:"description"`
		Status      jiraNamed    `json:"status"`
		Priority    jiraNamed    `json:"priority"`
		Type        jiraNamed    `json:"issuetype"`
		Project     jiraProject  `json:"project"`
		Reporter    *jiraPerson  `json:"reporter"`
		Creator     *jiraPerson  `json:"creator"`
		Assignee    *jiraPerson  `json:"assignee"`
		Labels      []string     `json:"labels"`
		Components  []jiraNamed  `json:"components"`
		Parent      *jiraParent  `json:"parent"`
		Created     jiraTime     `json:"created"`
		Resolved    jiraTime     `json:"resolutiondate"`
		Due         string       `json:"duedate"`
		Estimate    *int         `json:"timeoriginalestimate"` // seconds
		Comment     jiraComments `json:"comment"`
		Worklog     jiraWorklogs `json:"worklog"`
	} `json:"fields"`
	Changelog struct {
		Histories []struct {
			ID      string      `json:"id"`
			Author  *jiraPerson `json:"author"`
			Created jiraTime    `json:"created"`
			Items   []struct {
				Field string `json:"field"`
				From  string `json:"fromString"`
				To    string `json:"toString"`
			} `json:"items"`
		} `json:"histories"`
	} `json:"changelog"`
}

type (
	jiraNamed   struct{ Name string }
	jiraProject struct{ Key, Name string }
	jiraParent  struct{ Key string }
	jiraPerson  struct {
		AccountID string `json:"accountId"`
		Name      string `json:"name"`
		Display   string `json:"displayName"`
		Email     string `json:"emailAddress"`
	}
	jiraComments struct {
		Comments []struct {
			ID      string      `json:"id"`
			Author  *jiraPerson `json:"author"`
			Body    jiraText    `json:"body"`
			Created jiraTime    `json:"created"`
		} `json:"comments"`
	}
	jiraWorklogs struct {
		Worklogs []struct {
			ID      string      `json:"id"`
			Author  *jiraPerson `json:"author"`
			Started jiraTime    `json:"started"`
			Seconds int         `json:"timeSpentSeconds"`
			Comment jiraText    `json:"comment"`
		} `json:"worklogs"`
	}
)

// jiraTime is a time as Jira writes it: 2011-08-19T08:13:00.000+0200.
type jiraTime struct{ time.Time }

func (t *jiraTime) UnmarshalJSON(data []byte) error {
	var text *string
	if err := json.Unmarshal(data, &text); err != nil || text == nil || *text == "" {
		return err
	}
	var err error
	for _, layout := range []string{"2006-01-02T15:04:05.999999999-0700", time.RFC3339Nano} {
		if t.Time, err = time.Parse(layout, *text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is no time such as 2006-01-02T15:04:05.000+0200", *text)
}

// jiraText is a text, or the words of a document of Atlassian's (ADF).
type jiraText string

func (t *jiraText) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) == nil {
		if text != nil {
			*t = jiraText(*text)
		}
		return nil
	}
	var document jiraNode
	err := json.Unmarshal(data, &document)
	*t = jiraText(strings.TrimSpace(document.words()))
	return err
}

type jiraNode struct {
	Type    string     `json:"type"`
	Text    string     `json:"text"`
	Content []jiraNode `json:"content"`
	Attrs   struct {
		Text string `json:"text"` // of a mention, an emoji or a status
		URL  string `json:"url"`  // of a card, which shows the page behind a link
	} `json:"attrs"`
}

// words are the texts of a node, each block on a line of its own.
func (n jiraNode) words() string {
	text := n.Text + n.Attrs.Text + n.Attrs.URL
	for _, inner := range n.Content {
		text += inner.words()
	}
	switch n.Type {
	case "paragraph", "heading", "codeBlock", "blockCard", "hardBreak":
		text += "\n"
	}
	return text
}

func (p *jiraPerson) person() Person {
	if p == nil {
		return Person{Code: "nobody", Name: "Nobody (Jira does not say)"}
	}
	return Person{Code: cmp.Or(p.AccountID, p.Name, p.Email, p.Display, "unknown"), Name: p.Display, Email: p.Email}
}

// jira reads a search's answer, several of them one after the other, a list of issues, or an issue a line.
func jira(from io.Reader) iter.Seq2[Action, error] {
	return things(from, "issues", func(line int, data json.RawMessage) ([]Action, *Reject) {
		var issue jiraIssue
		if err := json.Unmarshal(data, &issue); err != nil {
			return []Action{{Task: issue.Key}}, rejected(line, "this is no issue as Jira exports one: %s", unmarshalling(err))
		}
		return issue.actions(line)
	})
}

// actions are what happened to an issue, the oldest first.
func (i jiraIssue) actions(line int) ([]Action, *Reject) {
	f := i.Fields
	author := f.Reporter
	if author == nil {
		author = f.Creator
	}
	body := string(f.Description)
	created := Action{Line: line, At: f.Created.Time, By: author.person(), Do: CreateTask, Task: i.Key, Title: f.Summary, Body: &body, Priority: f.Priority.Name,
		Project: f.Project.Name, ProjectKey: f.Project.Key, DueOn: f.Due, Status: f.Status.Name}
	labels := append([]string{f.Type.Name}, f.Labels...)
	for _, c := range f.Components {
		labels = append(labels, c.Name)
	}
	created.Tags = tags(labels...)
	if f.Parent != nil {
		created.Parent = f.Parent.Key
	}
	if f.Assignee != nil {
		created.Assignees = []Person{f.Assignee.person()}
	}
	if f.Estimate != nil {
		minutes := *f.Estimate / 60
		created.Estimate = &minutes
	}
	var later []Action
	for _, h := range i.Changelog.Histories {
		for _, item := range h.Items {
			if item.Field == "status" {
				later = append(later, Action{Line: line, At: h.Created.Time, By: h.Author.person(), Do: SetStatus, Task: i.Key, Status: item.To, ID: h.ID})
			}
		}
	}
	slices.SortStableFunc(later, func(a, b Action) int { return a.At.Compare(b.At) })
	if len(later) > 0 { // it began before the first of them
		created.Status = "open"
	} else if _, known := Status(created.Status); known && !f.Resolved.IsZero() {
		later = append(later, Action{Line: line, At: f.Resolved.Time, By: created.By, Do: SetStatus, Task: i.Key, Status: created.Status, ID: "resolved"})
		created.Status = "open"
	}
	for _, c := range f.Comment.Comments {
		body := string(c.Body)
		later = append(later, Action{Line: line, At: c.Created.Time, By: c.Author.person(), Do: AddComment, Task: i.Key, ID: c.ID, Body: &body})
	}
	for _, w := range f.Worklog.Worklogs {
		later = append(later, Action{Line: line, At: w.Started.Add(time.Duration(w.Seconds) * time.Second), By: w.Author.person(), Do: LogTime, Task: i.Key, ID: w.ID,
			Start: w.Started.Time, Minutes: (w.Seconds + 30) / 60, Activity: cutLine(string(w.Comment))})
	}
	slices.SortStableFunc(later, func(a, b Action) int { return a.At.Compare(b.At) })
	return append([]Action{created}, later...), created.check()
}

// cutLine is the first line of a text, as an activity can be.
func cutLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > 400 {
		return string(runes[:400])
	}
	return line
}
