package promises

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// wantRelations asks in every way for the relations of a task.
func (c *client) wantRelations(t tester, task domain.Task, want ...domain.TaskRelation) {
	t.Helper()
	if want == nil {
		want = []domain.TaskRelation{}
	}
	got := map[string]domain.Task{"get": decode[domain.Task](t, c.call(t, "GET", taskPath(task), nil).want(t, 200))}
	for _, one := range pages[domain.Task](t, c, "/api/tasks", 200) {
		if one.ID == task.ID {
			got["list"] = one
		}
	}
	for how, one := range got {
		if diff := cmp.Diff(want, one.Relations); diff != "" {
			t.Errorf("%s: %s", how, diff)
		}
	}
}

// A relation is seen from both ends, with an event in both streams, and only as far as the other task is.
func TestRelationsOfTasks(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	vic := ada.member(t, "viewer")
	a, b, c := ada.newTask(t), ada.newTask(t), ada.newTask(t)
	w := &walk{ada, t, ada.head(t)}
	relation := func(kind string, with domain.Task) string { return taskPath(a, "relations", kind, with.ID) }
	for kind, other := range ends {
		if kind == "blocked_by" || kind == "duplicated_by" {
			w.call(t, "PUT", relation(kind, b), nil).problem(t, 422, "invalid")
			continue
		}
		w.step("PUT", relation(kind, b), nil, 204, 2)
		w.step("PUT", relation(kind, b), nil, 204, 0)
		ada.wantRelations(t, a, domain.TaskRelation{Kind: kind, TaskID: b.ID})
		ada.wantRelations(t, b, domain.TaskRelation{Kind: other, TaskID: a.ID})
		if kind == "relates" {
			w.step("PUT", taskPath(b, "relations", kind, a.ID), nil, 204, 0)
		} else {
			w.call(t, "PUT", taskPath(b, "relations", kind, a.ID), nil).problem(t, 409, "relation_circle")
		}
		w.step("DELETE", relation(kind, b), nil, 204, 2)
		w.step("DELETE", relation(kind, b), nil, 204, 0)
		ada.wantRelations(t, a)
		ada.wantRelations(t, b)
	}
	w.call(t, "PUT", relation("blocks", a), nil).problem(t, 422, "invalid")
	w.call(t, "PUT", taskPath(a, "relations", "blocks", uuid.New()), nil).problem(t, 404, "task_not_found")
	w.step("PUT", relation("blocks", b), nil, 204, 2)
	w.step("PUT", relation("relates", c), nil, 204, 2)
	then := decode[domain.Task](t, ada.call(t, "GET", taskPath(a), nil).want(t, 200))
	// who does not see the other end sees no relation
	w.step("PUT", taskPath(a, "viewers", vic.id), nil, 204, 1)
	vic.wantRelations(t, a)
	w.step("PUT", taskPath(c, "viewers", vic.id), nil, 204, 1)
	vic.wantRelations(t, a, domain.TaskRelation{Kind: "relates", TaskID: c.ID})
	// one that is deleted is hidden, and is back when it is restored
	w.step("DELETE", taskPath(b), nil, 204, 1)
	ada.wantRelations(t, a, domain.TaskRelation{Kind: "relates", TaskID: c.ID})
	w.call(t, "DELETE", relation("blocks", b), nil).problem(t, 404, "task_not_found")
	if was := decode[domain.Task](t, ada.call(t, "GET", taskPath(a)+"?as_of="+instant(then.UpdatedAt), nil).want(t, 200)); !cmp.Equal(was, then) {
		t.Errorf("as of then: %s", cmp.Diff(then, was))
	}
	w.step("POST", taskPath(b, "restore"), nil, 200, 1)
	ada.wantRelations(t, a, domain.TaskRelation{Kind: "blocks", TaskID: b.ID}, domain.TaskRelation{Kind: "relates", TaskID: c.ID})
	ada.judge(t)
	ada.noDrift(t)
}

// Of relations that come at once and would make a circle together, also by way of others, one is refused.
func TestNoCircleOfRelations(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		ring := make([]domain.Task, 4)
		for i := range ring {
			ring[i] = ada.newTask(t)
		}
		kind := []string{"blocks", "duplicates"}[round%2]
		answers := make([]reply, len(ring))
		parallel(len(ring), func(i int) {
			answers[i] = ada.on(p[i%2]).call(t, "PUT", taskPath(ring[i], "relations", kind, ring[(i+1)%len(ring)].ID), nil)
		})
		refused := 0
		for _, a := range answers {
			if a.status != 204 {
				a.problem(t, 409, "relation_circle")
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d of %d were refused", refused, len(ring))
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}
