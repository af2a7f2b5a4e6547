package demo

import "fmt"

// plan is the result of the first reading of a file.
type plan struct {
	actions int
	orgs    []*orgPlan // in the order of their first line
}

// orgPlan is what an org needs before its history is imported.
type orgPlan struct {
	name   string
	people []string // the actors and assignees, in the order of their first line
}

// read reads the whole file, and fails when a line names no org.
func (s source) read() (p plan, err error) {
	orgs, known := map[string]*orgPlan{}, map[[2]string]bool{}
	for a, err := range s.actions() {
		if err != nil {
			return p, err
		}
		org := orgs[a.Org]
		if org == nil {
			org = &orgPlan{name: a.Org}
			orgs[a.Org] = org
			p.orgs = append(p.orgs, org)
		}
		for _, person := range []string{a.Actor, a.Assignee} {
			if person != "" && !known[[2]string{a.Org, person}] {
				known[[2]string{a.Org, person}] = true
				org.people = append(org.people, person)
			}
		}
		p.actions++
	}
	if p.actions == 0 {
		return p, fmt.Errorf("%s: there is no action in it", s.name)
	}
	return p, nil
}

// people counts the people of all orgs.
func (p plan) people() (n int) {
	for _, o := range p.orgs {
		n += len(o.people)
	}
	return n
}
