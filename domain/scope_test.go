package domain_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Each scope reaches all things that a narrower one reaches, and more. Intersect, MayGive and Reaches agree on this order.
func TestScopesAreInOrder(t *testing.T) {
	scopes := domain.EveryScope
	nothing, mine, ours := domain.Reach{}, domain.Reach{Own: true}, domain.Reach{InProject: true}
	for i, s := range scopes {
		for _, reach := range []struct {
			domain.Reach
			from int // the narrowest scope that reaches it
		}{{mine, 1}, {domain.Reach{Own: true, InProject: true}, 1}, {ours, 2}, {nothing, 3}} {
			if got := s.Reaches(reach.Reach); got != (i >= reach.from) {
				t.Errorf("%s reaches %+v: %v", s, reach.Reach, got)
			}
		}
		for k, other := range scopes {
			a, b := domain.Grants{grantOf(domain.ReadTask, s)}, domain.Grants{grantOf(domain.ReadTask, other)}
			if got := a.Intersect(b).Scope(domain.ReadTask); got != scopes[min(i, k)] {
				t.Errorf("%s and %s have %s in common", s, other, got)
			}
			if given := a.MayGive(b) == nil; given != (i >= k) {
				t.Errorf("over %s, %s may be given: %v", s, other, given)
			}
		}
	}
	if domain.Scope("every").Reaches(mine) {
		t.Error("an unknown scope reaches something")
	}
}

// A comment is reached by its author and by the members of the project. People with a part in its task may read it and no more. None of
// them reaches the comment of a task that they may not read.
func TestReach(t *testing.T) {
	author, assignee, viewer, colleague, lead, stranger := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	project := domain.Project{CreatedBy: uuid.New(), LeadID: &lead, MemberIDs: []uuid.UUID{colleague}}
	task := domain.Task{CreatedBy: uuid.New(), AssigneeIDs: []uuid.UUID{assignee}, ViewerIDs: []uuid.UUID{viewer}}
	comment := domain.Comment{CreatedBy: author}
	grants := func(task, read, update domain.Scope) domain.Grants {
		return domain.Grants{grantOf(domain.ReadTask, task), grantOf(domain.ReadComment, read), grantOf(domain.UpdateComment, update)}
	}
	for _, c := range []struct {
		what         string
		member       uuid.UUID
		grants       domain.Grants
		read, update bool
	}{
		{"the author", author, grants(domain.All, domain.Own, domain.Own), true, true},
		{"the author, who sees the task no longer", author, grants(domain.Own, domain.All, domain.All), false, false},
		{"the assignee of the task", assignee, grants(domain.Own, domain.Own, domain.Own), true, false},
		{"the viewer of the task", viewer, grants(domain.Own, domain.InProject, domain.InProject), true, false},
		{"a member of the project", colleague, grants(domain.InProject, domain.InProject, domain.InProject), true, true},
		{"a member of the project with scope own", colleague, grants(domain.Own, domain.Own, domain.Own), false, false},
		{"a member of the project who reads no tasks", colleague, grants(domain.None, domain.All, domain.All), false, false},
		{"the lead, who is no member of the project", lead, grants(domain.InProject, domain.InProject, domain.InProject), false, false},
		{"a stranger", stranger, grants(domain.InProject, domain.InProject, domain.InProject), false, false},
		{"a stranger with scope all", stranger, grants(domain.All, domain.All, domain.All), true, true},
		{"a stranger who may update what is not to be read", stranger, grants(domain.All, domain.None, domain.All), false, false},
	} {
		ours := slices.Contains(project.MemberIDs, c.member)
		on := domain.ThingTo(c.member, "task", task, ours, nil)
		thing := domain.ThingTo(c.member, "comment", comment, ours, &on)
		if read, update := c.grants.Reaches("read", thing), c.grants.Reaches("update", thing); read != c.read || update != c.update {
			t.Errorf("%s: read %v, update %v", c.what, read, update)
		}
	}
	for member, own := range map[uuid.UUID]bool{lead: true, project.CreatedBy: true, colleague: false, stranger: false} {
		if reach := project.Parts(member).Reach(); reach.Own != own || reach.InProject {
			t.Errorf("a project: %+v", reach)
		}
	}
}
