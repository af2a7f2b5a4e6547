package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// window is how many actions are looked at at once: those that have to wait for others too.
const window = 1024

// player does the actions of a file.
type player struct {
	client     *client
	tally      *tally
	paths      map[string]bool // that the server has
	workspaces map[string]*workspace
	each       func() // called after each action
}

// play reads the file and does each action as soon as those that it depends on are done: the actions on one task are
// done in the order of the file, and a parent is created before its children. It ends at the first action that gets
// no answer.
func (p *player) play(ctx context.Context, s source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	places := make(chan struct{}, window)
	for a, err := range s.actions() {
		if err != nil { // the file was changed after it was checked
			cancel(err)
			break
		}
		if p.pass(a) {
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		j, after, done := p.enlist(a)
		all.Go(func() {
			defer func() { close(done); <-places }()
			if err := p.inTurn(ctx, j, after); err != nil {
				cancel(fmt.Errorf("line %d, %s: %w", j.Line, j.Do, err))
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// pass counts what of an action has no place on the server, and tells whether that is all of it.
func (p *player) pass(a action) bool {
	noun, fields := missing(a)
	for _, field := range fields {
		p.tally.leftOut(named(field, p.paths), a.Line)
	}
	if noun == "" {
		return false
	}
	p.tally.notYet(named(noun, p.paths), a.Line)
	p.each()
	return true
}

// enlist finds what an action is about and what it has to wait for. An action waits for earlier ones only, and takes
// nothing that others need while it waits: so the earliest of those under way can always go on.
func (p *player) enlist(a action) (j job, after []<-chan struct{}, done chan struct{}) {
	j = job{action: a, in: p.workspaces[a.Org]}
	done = make(chan struct{})
	if a.Do == createTask {
		j.task = &task{created: done}
		j.in.tasks[a.Task] = j.task
		if a.Parent != "" {
			j.parent = j.in.tasks[a.Parent]
			after = append(after, j.parent.created)
		}
	} else {
		j.task = j.in.tasks[a.Task]
		after = append(after, j.task.last)
	}
	j.task.last = done
	return j, after, done
}

func (p *player) inTurn(ctx context.Context, j job, after []<-chan struct{}) error {
	for _, earlier := range after {
		select {
		case <-earlier:
		case <-ctx.Done():
			return ctx.Err() // whoever ended it has said why before
		}
	}
	if ctx.Err() != nil { // what is closed then may be undone
		return ctx.Err()
	}
	if err := p.do(ctx, j); err != nil {
		return err
	}
	p.each()
	return nil
}

// do does one action. Its error says that there was no answer, or none that can be understood.
func (p *player) do(ctx context.Context, j job) error {
	r, notSent := j.command()
	if notSent != "" {
		p.tally.notSent(notSent, j.Line)
		return nil
	}
	a, err := p.client.send(ctx, r)
	if err != nil {
		return err
	}
	p.tally.answered(a.took)
	if a.status >= 300 {
		problem := a.problem()
		if why := j.rightly(problem); why != "" {
			p.tally.rightly(why, j.Line)
		} else {
			p.tally.refused(problem, j.Line)
		}
		return nil
	}
	p.tally.accepted()
	return j.acknowledge(a)
}

// acknowledge keeps what the server has answered: later actions and the check at the end need it.
func (j job) acknowledge(a answer) error {
	var thing struct {
		ID     string `json:"id"`
		Status string `json:"status"` // of a task
		Body   string `json:"body"`   // of a comment
	}
	if err := json.Unmarshal(a.body, &thing); err != nil || thing.ID == "" {
		return fmt.Errorf("the answer names no id: %.200q", a.body)
	}
	switch j.Do {
	case createTask, setStatus:
		j.task.id, j.task.status = thing.ID, thing.Status
	case addComment:
		j.task.count++
		fallthrough
	case editComment:
		if j.in.plan.edited[j.Comment] {
			author := j.Actor
			if c, there := j.task.comments[j.Comment]; there {
				author = c.author
			}
			if j.task.comments == nil {
				j.task.comments = map[string]comment{}
			}
			j.task.comments[j.Comment] = comment{id: thing.ID, author: author, body: thing.Body}
		}
	}
	return nil
}
