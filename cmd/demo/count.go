package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// counts has the counts of a workspace: tasks by status, comments, minutes by person and month, and tasks by tag.
type counts map[what]int

type what struct{ kind, which string }

func (c counts) minutes(person string, start time.Time, n int) {
	c[what{"minutes", person + " " + start.UTC().Format("2006-01")}] += n
}

// tags gives the tags of a task, each once, without the stray commas that trackers have in theirs.
func (c counts) tags(names []string) {
	seen := map[string]bool{}
	for _, name := range names {
		if name = strings.ToLower(strings.Trim(name, " \t,;")); name != "" && !seen[name] {
			seen[name] = true
			c[what{"tags", name}]++
		}
	}
}

// total is the sum of one kind of counts.
func (c counts) total(kind string) (n int) {
	for w, count := range c {
		if w.kind == kind {
			n += count
		}
	}
	return n
}

// differences describes the differences in words.
func (c counts) differences(found counts) (all []string) {
	every := maps.Clone(c)
	maps.Copy(every, found)
	for w := range every {
		if c[w] != found[w] {
			all = append(all, fmt.Sprintf("%s %s: %d in the file, %d on the server", w.kind, w.which, c[w], found[w]))
		}
	}
	slices.Sort(all)
	return all
}

// count counts the things of an org after all its lines, without the rejected ones.
func (s source) count(org string, rejected map[int]bool) (counts, error) {
	c, statuses := counts{}, map[string]string{}
	for a, err := range s.actions() {
		if err != nil {
			return nil, err
		}
		if a.Org != org || rejected[a.Line] {
			continue
		}
		switch a.Do {
		case "task.create":
			statuses[a.Task] = statusOf(a.Status)
			c.tags(slices.Concat([]string{a.Kind}, a.Tags, a.Components))
		case "task.status":
			statuses[a.Task] = statusOf(a.Status)
		case "comment.add":
			c[what{"comments", ""}]++
		case "time.log":
			c.minutes(a.Actor, a.Start, a.Minutes)
		}
	}
	for _, status := range statuses {
		c[what{"tasks", status}]++
	}
	return c, nil
}

// statusOf translates a status of a tracker into one of ours. An unknown status is open.
func statusOf(text string) string {
	switch strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(strings.TrimSpace(text))) {
	case "in progress", "doing", "started", "in review", "review", "in development", "testing", "blocked":
		return "in_progress"
	case "done", "resolved", "closed", "complete", "completed", "fixed":
		return "done"
	case "cancelled", "canceled", "won't do", "wontfix", "won't fix", "rejected", "duplicate", "not planned", "declined":
		return "cancelled"
	}
	return "open"
}
