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

// listed has the fields of a listed thing that the demo reads.
type listed struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`    // of a tag
	Status   string    `json:"status"`  // of a task
	TagIDs   []string  `json:"tag_ids"` // of a task
	MemberID string    `json:"member_id"`
	Start    time.Time `json:"start"`
	Minutes  int       `json:"minutes"`
}

// count counts the things in the lists of a workspace.
func (c *client) count(ctx context.Context, w *workspace) (counts, error) {
	found := counts{}
	tags, err := c.list(ctx, "/api/tags", w.admin.token)
	if err != nil {
		return nil, err
	}
	called := map[string]string{}
	for _, tag := range tags {
		called[tag.ID] = tag.Name
	}
	tasks, err := c.list(ctx, "/api/tasks", w.admin.token)
	if err != nil {
		return nil, err
	}
	for _, task := range tasks {
		found[what{"tasks", task.Status}]++
		var names []string
		for _, id := range task.TagIDs {
			names = append(names, called[id])
		}
		found.tags(names)
	}
	entries, err := c.list(ctx, "/api/time-entries", w.admin.token)
	if err != nil {
		return nil, err
	}
	codes := map[string]string{}
	for code, person := range w.people {
		codes[person.id] = code
	}
	for _, entry := range entries {
		found.minutes(codes[entry.MemberID], entry.Start, entry.Minutes)
	}
	comments, err := c.countComments(ctx, w, tasks)
	if comments > 0 {
		found[what{"comments", ""}] = comments
	}
	return found, err
}

// countComments reads the comments of every task, in turn as each member, because a single member would reach the limit.
func (c *client) countComments(ctx context.Context, w *workspace, tasks []listed) (int, error) {
	tokens := []string{w.admin.token}
	for _, p := range w.people {
		tokens = append(tokens, p.token)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * cap(c.slots))
	var count atomic.Int64
	for i, task := range tasks {
		group.Go(func() error {
			comments, err := c.list(ctx, "/api/tasks/"+task.ID+"/comments", tokens[i%len(tokens)])
			count.Add(int64(len(comments)))
			return err
		})
	}
	err := group.Wait()
	return int(count.Load()), err
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

// callFresh repeats a request until its answer is complete, that is, without Kluis-Behind.
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
