package demo

import (
	"errors"
	"fmt"
)

// plan is what the first reading of a file found out.
type plan struct {
	actions int
	orgs    []*orgPlan // in the order of their first line
	byName  map[string]*orgPlan
}

// orgPlan is what one org needs before its first action.
type orgPlan struct {
	name   string
	people []string // who acts or is assigned, in the order of their first line
	known  map[string]bool
	tasks  map[string]bool
	// comments: the task of each; edited: whose text is needed again, since an edit may come without one
	comments map[string]string
	edited   map[string]bool
}

// read checks the whole file: nothing is sent of one that has a mistake in it.
func (s source) read() (plan, error) {
	p := plan{byName: map[string]*orgPlan{}}
	for a, err := range s.actions() {
		if err != nil {
			return p, err
		}
		if err := p.org(a.Org).add(a); err != nil {
			return p, s.wrong(a.Line, err)
		}
		p.actions++
	}
	if p.actions == 0 {
		return p, fmt.Errorf("%s: there is no action in it", s.name)
	}
	return p, nil
}

func (p *plan) org(name string) *orgPlan {
	o := p.byName[name]
	if o == nil {
		o = &orgPlan{name: name, known: map[string]bool{}, tasks: map[string]bool{},
			comments: map[string]string{}, edited: map[string]bool{}}
		p.byName[name] = o
		p.orgs = append(p.orgs, o)
	}
	return o
}

// add takes one action in, and refuses one that is about something that no line before has made.
func (o *orgPlan) add(a action) error {
	for _, person := range []string{a.Actor, a.Assignee} {
		if person != "" && !o.known[person] {
			o.known[person] = true
			o.people = append(o.people, person)
		}
	}
	if a.Do == createTask {
		return o.addTask(a)
	}
	if !o.tasks[a.Task] {
		return fmt.Errorf("no line before creates the task %q in org %q", a.Task, o.name)
	}
	switch a.Do {
	case addComment:
		if o.comments[a.Comment] != "" {
			return fmt.Errorf("the comment %q is there already", a.Comment)
		}
		o.comments[a.Comment] = a.Task
	case editComment:
		switch o.comments[a.Comment] {
		case a.Task:
			o.edited[a.Comment] = true
		case "":
			return fmt.Errorf("no line before adds the comment %q in org %q", a.Comment, o.name)
		default:
			return fmt.Errorf("the comment %q is on the task %q, not on %q", a.Comment, o.comments[a.Comment], a.Task)
		}
	case logTime:
		if *a.Minutes < 0 || a.Break != nil && *a.Break < 0 {
			return errors.New("minutes are less than 0")
		}
	}
	return nil
}

func (o *orgPlan) addTask(a action) error {
	if o.tasks[a.Task] {
		return fmt.Errorf("the task %q is there already", a.Task)
	}
	if a.Parent != "" && !o.tasks[a.Parent] {
		return fmt.Errorf("no line before creates the parent %q in org %q", a.Parent, o.name)
	}
	o.tasks[a.Task] = true
	return nil
}

// people of all orgs.
func (p plan) people() (n int) {
	for _, o := range p.orgs {
		n += len(o.people)
	}
	return n
}
