package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Found is what reading a workspace back gave, beside what was acknowledged.
type Found struct {
	Tasks, Comments             int      // that the server has
	TasksWanted, CommentsWanted int      // that it acknowledged
	Wrong                       []string // the first few differences
}

// maxWrong is how many differences of a workspace are told.
const maxWrong = 5

type listed struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// check reads a workspace back through its lists, and compares it with what the server acknowledged: each task once,
// with its status, each comment once, and nothing else.
func (c *client) check(ctx context.Context, w *workspace) (f Found, err error) {
	wanted := map[string]*task{}
	for _, t := range w.tasks {
		if t.id != "" {
			wanted[t.id] = t
			f.CommentsWanted += t.count
		}
	}
	f.TasksWanted = len(wanted)
	tasks, err := c.list(ctx, "/api/tasks", w.admin.token)
	if err != nil {
		return f, err
	}
	f.Tasks = len(tasks)
	seen := map[string]bool{}
	for _, t := range tasks {
		switch known := wanted[t.ID]; {
		case known == nil:
			f.wrong("task %s is there, and was not acknowledged", t.ID)
		case seen[t.ID]:
			f.wrong("task %s is in the list twice", t.ID)
		case known.status != t.Status:
			f.wrong("task %s is %s, acknowledged was %s", t.ID, t.Status, known.status)
		}
		seen[t.ID] = true
	}
	for id := range wanted {
		if !seen[id] {
			f.wrong("task %s was acknowledged, and is not there", id)
		}
	}
	return f, c.checkComments(ctx, w, wanted, &f)
}

// checkComments reads the comments of every task, in turn as each of the members: one alone may be limited.
func (c *client) checkComments(ctx context.Context, w *workspace, wanted map[string]*task, f *Found) error {
	tokens := []string{w.admin.token}
	for _, p := range w.people {
		tokens = append(tokens, p.token)
	}
	type count struct {
		id          string
		found, want int
	}
	counts := make(chan count, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * cap(c.slots))
	var turn atomic.Int64
	for id, t := range wanted {
		group.Go(func() error {
			token := tokens[int(turn.Add(1))%len(tokens)]
			comments, err := c.list(ctx, "/api/tasks/"+id+"/comments", token)
			counts <- count{id, len(comments), t.count}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	close(counts)
	for n := range counts {
		f.Comments += n.found
		if n.found != n.want {
			f.wrong("task %s has %d comments, acknowledged were %d", n.id, n.found, n.want)
		}
	}
	return nil
}

func (f *Found) wrong(format string, args ...any) {
	if len(f.Wrong) < maxWrong {
		f.Wrong = append(f.Wrong, fmt.Sprintf(format, args...))
	}
}

// list reads all pages of a list.
func (c *client) list(ctx context.Context, path, token string) (all []listed, err error) {
	for cursor := ""; ; {
		var page struct {
			Items []listed `json:"items"`
			Next  *string  `json:"next_cursor"`
		}
		query := url.Values{"limit": {"200"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if err := c.callFresh(ctx, request{method: "GET", path: path + "?" + query.Encode(), token: token}, &page); err != nil {
			return nil, fmt.Errorf("read %s back: %w", path, err)
		}
		all = append(all, page.Items...)
		if page.Next == nil {
			return all, nil
		}
		cursor = *page.Next
	}
}

// callFresh asks until the answer shows everything: an answer with Kluis-Behind does not.
func (c *client) callFresh(ctx context.Context, r request, into any) error {
	for giveUp := time.Now().Add(c.patience); ; {
		a, err := c.call(ctx, r, into)
		if err != nil {
			return err
		}
		behind := a.header.Get("Kluis-Behind")
		if behind == "" {
			return nil
		}
		if time.Now().After(giveUp) {
			return errors.New("the read models stay behind, by " + behind + " events")
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
