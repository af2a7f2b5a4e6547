package demo

import "fmt"

// plan is what the first reading of a file found out.
type plan struct {
	actions int
	orgs    []*orgPlan // in the order of their first line
}

// orgPlan is what one org needs before its history.
type orgPlan struct {
	name   string
	people []string // who acts or is assigned, in the order of their first line
}

// read reads the whole file: nothing is sent of one in which a line does not say whose it is.
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

// people of all orgs.
func (p plan) people() (n int) {
	for _, o := range p.orgs {
		n += len(o.people)
	}
	return n
}
