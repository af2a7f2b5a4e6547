package promises

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// order gives the titles of all tasks in the order by hand.
func (c *client) order(t tester) (titles []string) {
	t.Helper()
	tasks := pages[domain.Task](t, c, "/api/tasks", 200)
	slices.SortFunc(tasks, func(a, b domain.Task) int { return strings.Compare(a.Rank, b.Rank) })
	for _, task := range tasks {
		titles = append(titles, task.Title)
	}
	return titles
}

// A task is put directly before or behind another one with one event of its own; new ones come behind all others.
func TestOrderByHand(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	var tasks []domain.Task
	var order []string
	add := func() {
		task := ada.newTask(t, object{"title": fmt.Sprint(len(tasks))})
		tasks, order = append(tasks, task), append(order, task.Title)
	}
	for range 5 {
		add()
	}
	w := &walk{ada, t, ada.head(t)}
	moves := 60
	if testing.Short() {
		moves = 20
	}
	for i := range moves {
		task, beside := tasks[rand.IntN(len(tasks))], tasks[rand.IntN(len(tasks))]
		if i%3 == 0 { // the last and the first place, again and again
			at := []int{0, len(order) - 1}[i%2]
			beside = tasks[slices.IndexFunc(tasks, func(t domain.Task) bool { return t.Title == order[at] })]
		}
		where := []string{"before", "after"}[rand.IntN(2)]
		if task.ID == beside.ID {
			w.call(t, "PATCH", taskPath(task), object{where: beside.ID}).refusedAs(t, "beside itself", 422, "/"+where)
			continue
		}
		was := slices.Clone(order)
		order = slices.DeleteFunc(order, func(title string) bool { return title == task.Title })
		at := slices.Index(order, beside.Title)
		if where == "after" {
			at++
		}
		order = slices.Insert(order, at, task.Title)
		events := 1
		if slices.Equal(was, order) {
			events = 0
		}
		w.step("PATCH", taskPath(task), object{where: beside.ID}, 200, events)
		if got := ada.order(t); !slices.Equal(got, order) {
			t.Fatalf("%s put %s %s: %v, want %v", task.Title, where, beside.Title, got, order)
		}
		if i%10 == 9 {
			add()
			w.last = ada.head(t)
		}
	}
	w.call(t, "PATCH", taskPath(tasks[0]), object{"before": tasks[1].ID, "after": tasks[2].ID}).refusedAs(t, "both", 422, "/after")
	w.call(t, "PATCH", taskPath(tasks[0]), object{"after": uuid.New()}).refusedAs(t, "nothing", 422, "/after")
	ada.call(t, "DELETE", taskPath(tasks[1]), nil).want(t, 204)
	w.call(t, "PATCH", taskPath(tasks[0]), object{"after": tasks[1].ID}).refusedAs(t, "deleted", 422, "/after")
	ada.judge(t)
	ada.noDrift(t)
}

// Whoever puts tasks into one place at once: no two have one rank, and all are there.
func TestOrderByHandAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	first := ada.newTask(t, object{"title": "first"})
	var others []domain.Task
	for range 8 {
		others = append(others, ada.newTask(t, object{"title": "other"}))
	}
	last := ada.newTask(t, object{"title": "last"})
	ada.call(t, "PATCH", taskPath(last), object{"after": first.ID}).want(t, 200)
	for range 3 {
		parallel(len(others), func(i int) {
			ada.on(p[i%2]).call(t, "PATCH", taskPath(others[i]), object{"after": first.ID}).want(t, 200)
		})
		order := ada.order(t)
		if order[0] != "first" || order[9] != "last" {
			t.Errorf("%v", order)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}
