package promises

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Many who want the same thing at once all get their turn.
func TestCrowdsGetTheirTurn(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	const crowd = 24
	for name, one := range map[string]func(c *client, i int) reply{
		"one task": func(c *client, i int) reply {
			return c.call(t, "PATCH", taskPath(task), object{"title": fmt.Sprint("t", i)})
		},
		"one roster": func(c *client, i int) reply {
			return c.call(t, "POST", "/api/members", object{"email": fmt.Sprint("p", i, "@people.example"), "full_name": "n", "role": "viewer"})
		},
		"one discussion": func(c *client, i int) reply {
			return c.call(t, "POST", taskPath(task, "comments"), object{"body": fmt.Sprint("c", i)})
		},
	} {
		before := ada.head(t)
		parallel(crowd, func(i int) {
			if a := one(ada.on(p[i%2]), i); a.status/100 != 2 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		})
		if n := ada.head(t) - before; n != crowd {
			t.Errorf("%s: %d events of %d", name, n, crowd)
		}
	}
	ada.judge(t)
	ada.noDrift(t)
}

// More events than fit into one page of a catch-up, a replay, or a list: nothing is lost at the edges.
func TestMoreThanAPage(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	ada.call(t, "GET", "/api/tasks", nil).want(t, 200)
	many := 2100
	if testing.Short() {
		many = 1050
	}
	const writers = 6
	parallel(writers, func(i int) {
		for n := range many / writers {
			a := ada.on(p[i%2]).call(t, "POST", taskPath(task, "comments"), object{"body": fmt.Sprint(i, " ", n)})
			if a.status != 201 {
				t.Errorf("%d %s", a.status, a.body)
				return
			}
		}
	})
	head := ada.head(t) // and nobody has read the comments so far
	a := ada.on(p[1]).call(t, "GET", taskPath(task, "comments")+"?limit=1", nil).want(t, 200)
	if a.position(t) != head || a.header.Get("Kluis-Behind") != "" {
		t.Errorf("shows position %d of %d", a.position(t), head)
	}
	seen := map[uuid.UUID]bool{}
	for _, c := range pages[domain.Comment](t, ada, taskPath(task, "comments"), 200) {
		seen[c.ID] = true
	}
	if len(seen) != many/writers*writers {
		t.Errorf("%d comments of %d", len(seen), many/writers*writers)
	}
	for _, from := range []int64{1, 2, head - 999, head - 1000, head - 1001} {
		for i, r := range ada.replay(t, from) {
			if r.Position != from+int64(i) {
				t.Fatalf("from %d: position %d at place %d", from, r.Position, i)
			}
		}
	}
	if n := len(ada.replay(t, 1)); n != int(head) {
		t.Errorf("%d records of %d", n, head)
	}
	ada.noDrift(t)
}
